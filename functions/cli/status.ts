import { setTimeout as pause } from 'node:timers/promises';
import type { Command } from 'commander';
import { groupBy } from '../../shared/core/util/collections';
import { nodeKey } from '../../shared/core/model/node';
import { reasonOf } from '../../shared/core/reconcile/outcome';
import { escapeControls } from '../../shared/core/util/shell';
import { exitCodes } from './errors';
import {
  atLeast,
  count,
  examples,
  outputOption,
  print,
  table,
  type CommandOutput,
  type Format,
} from './output';
import {
  targetErrorDocument,
  uncheckedTargetLines,
  dryRun,
  reportErrors,
  type DryRunResult,
  type NodePlan,
} from './dry-run';
import {
  clusterOption,
  deadlineOf,
  openTargets,
  selectionOf,
  withTargetOptions,
  type Target,
  type TargetOptions,
} from './targets';

interface StatusOptions extends TargetOptions {
  readonly all?: boolean;
  readonly watch?: boolean;
  readonly interval: number;
  readonly output: Format;
}

/** `peermasq status`: how nodes are doing, by cluster and cloud. */
export function addStatus(program: Command): void {
  const command = withTargetOptions(
    program
      .command('status')
      .description(
        'say how nodes are doing: proven, pending, failed, needs-reboot or skipped, and which have drifted',
      )
      .addOption(clusterOption())
      .option('-a, --all', 'list also the nodes that are proven or skipped')
      .option('-w, --watch', 'look again until Ctrl-C')
      .option('--interval <seconds>', 'how often --watch looks', atLeast(1), 10)
      .addOption(outputOption()),
  ).action(async (_: unknown, self: Command) => {
    const options = self.optsWithGlobals<StatusOptions>();
    if (options.watch) await watch(options);
    else await show(options);
  });
  examples(command, [
    'npx peermasq status',
    'npx peermasq status --all -o json',
    'npx peermasq status --watch',
  ]);
}

async function show(options: StatusOptions): Promise<void> {
  const dryRunResult = await runDryRun(options, await openTargets(options));
  print(formatStatus(dryRunResult, options.all === true, new Date()), options.output);
  reportErrors(dryRunResult, options.debug);
}

async function runDryRun(options: StatusOptions, targets: readonly Target[]): Promise<DryRunResult> {
  const [{ config }] = targets as [Target];
  return dryRun(targets, { ...selectionOf(options, config), deadline: deadlineOf(options) });
}

/** A look that fails is told, and does not end the watch. */
async function watch(options: StatusOptions): Promise<void> {
  process.once('SIGINT', () => process.exit(exitCodes.ok));
  const targets = await openTargets(options);
  for (;;) {
    const dryRunResult = await runDryRun(options, targets);
    const output = formatStatus(dryRunResult, options.all === true, new Date());
    if (process.stdout.isTTY && options.output === 'table') console.clear();
    print(output, options.output);
    reportErrors(dryRunResult, options.debug);
    await pause(options.interval * 1_000);
  }
}

const states = ['proven', 'pending', 'failed', 'needs-reboot', 'skipped'] as const;
type State = (typeof states)[number];

export interface NodeStatus {
  readonly state: State;
  /** It has another rule set than it is to have; null where what it is to have is not known. */
  readonly drift: boolean | null;
  readonly reason: string;
}

/** What the record and a plan together say of a node. */
export function statusOf({ node, outcome }: NodePlan): NodeStatus {
  switch (outcome.kind) {
    case 'skipped':
      return { state: 'skipped', drift: null, reason: outcome.skip.detail };
    case 'held':
      return {
        state: node.recorded?.isProven ? 'proven' : 'pending',
        drift: null,
        reason: heldReason(outcome.detail),
      };
    case 'planned':
      return outcome.isChange
        ? unprovenStatus(node, outcome.plan.id)
        : { state: 'proven', drift: false, reason: '' };
    default:
      return { state: 'pending', drift: null, reason: reasonOf(outcome) };
  }
}

const heldReason = (detail: string): string =>
  `Held: ${detail} \`npx peermasq backfill --allow-route-loss\` pushes it.`;

function unprovenStatus({ recorded, lastPush }: NodePlan['node'], planned: string): NodeStatus {
  const drift = recorded !== undefined && recorded.ruleSetId !== planned;
  if (lastPush?.state === 'failed')
    return { state: 'failed', drift, reason: 'The last push failed; the log says why.' };
  if (lastPush?.state === 'needs-reboot')
    return { state: 'needs-reboot', drift, reason: 'It takes what it was handed when it boots.' };
  const reason = recorded
    ? drift
      ? 'It has another rule set than it is to have.'
      : 'It has not proven its rule set yet.'
    : 'Nothing was pushed to it yet.';
  return { state: 'pending', drift, reason };
}

type NodeWithStatus = NodePlan & { readonly status: NodeStatus };

/** How many nodes of one cluster are in which state. */
interface ClusterCounts {
  readonly target: string;
  readonly cluster: string;
  readonly nodes: number;
  readonly counts: readonly number[];
  readonly drifted: number;
}

export function formatStatus(dryRunResult: DryRunResult, isAll: boolean, now: Date): CommandOutput {
  const all = dryRunResult.nodes.map((one): NodeWithStatus => ({ ...one, status: statusOf(one) }));
  const groups = groupBy(all, ({ target, cluster }) => `${target.name} ${cluster}`);
  const clusters = [...groups.values()].map(countsOf);
  return {
    document: {
      clusters: clusters.map(({ counts, ...rest }) => ({
        ...rest,
        ...Object.fromEntries(states.map((state, index) => [state, counts[index] ?? 0])),
      })),
      nodes: all.map(nodeDocument),
      errors: dryRunResult.errors.map(targetErrorDocument),
    },
    text: [
      ...(all.length === 0 ? noNodesLines(dryRunResult) : sections(all, clusters, isAll, now)),
      ...uncheckedTargetLines(dryRunResult),
    ].join('\n\n'),
  };
}

function countsOf(some: readonly NodeWithStatus[]): ClusterCounts {
  const [{ target, cluster }] = some as [NodeWithStatus];
  const counts = states.map((state) => some.filter(({ status }) => status.state === state).length);
  const drifted = some.filter(isDrifted).length;
  return { target: target.name, cluster, nodes: some.length, counts, drifted };
}

const nodeDocument = ({ node, target, cluster, status }: NodeWithStatus) => ({
  node: nodeKey(node.ref),
  name: node.name,
  target: target.name,
  cluster,
  ...status,
  ruleSet: node.recorded?.ruleSetId ?? null,
  launchedAt: node.launchedAt?.toISOString() ?? null,
  endedAt: endedAt(node)?.toISOString() ?? null,
});

/** All clusters, and of the nodes those that somebody has to look at. */
function sections(
  all: readonly NodeWithStatus[],
  clusters: readonly ClusterCounts[],
  isAll: boolean,
  now: Date,
): string[] {
  const isHealthy = ({ status: { state, reason } }: NodeWithStatus) =>
    state === 'skipped' || (state === 'proven' && reason === '');
  const listed = all.filter((one) => isAll || !isHealthy(one) || isDrifted(one));
  const rest = all.length - listed.length;
  return [
    clustersTable(clusters),
    ...(listed.length === 0 ? [] : [nodesTable(listed, now)]),
    ...(rest === 0 ? [] : [`${count(rest, 'node')} proven or skipped; --all lists them.`]),
  ];
}

const clustersTable = (clusters: readonly ClusterCounts[]): string =>
  table(
    ['CLOUD', 'CLUSTER', 'NODES', ...states.map((state) => state.toUpperCase()), 'DRIFTED'],
    clusters.map(({ target, cluster, nodes, counts, drifted }) =>
      [target, escapeControls(cluster), nodes, ...counts, drifted].map(String),
    ),
  );

const noNodesLines = ({ errors }: DryRunResult): string[] =>
  errors.length > 0 ? [] : ['No node of the clusters was found.'];

const isDrifted = ({ status }: NodeWithStatus): boolean => status.drift === true;

const endedAt = ({ lastPush, recorded }: NodePlan['node']): Date | undefined => lastPush?.at ?? recorded?.at;

function nodesTable(listed: readonly NodeWithStatus[], now: Date): string {
  return table(
    ['NODE', 'ID', 'CLUSTER', 'STATE', 'SINCE', 'AGE', 'RULE SET', 'DRIFT', 'REASON'],
    listed.map(({ node, cluster, status: { state, drift, reason } }) => [
      escapeControls(node.name),
      nodeKey(node.ref),
      escapeControls(cluster),
      state,
      formatAge(endedAt(node), now),
      formatAge(node.launchedAt, now),
      node.recorded?.ruleSetId.slice(0, 12) ?? '-',
      drift === null ? '-' : drift ? 'yes' : 'no',
      escapeControls(reason),
    ]),
  );
}

/** As kubectl prints ages: 45s, 12m, 5h, 3d. */
export function formatAge(then: Date | undefined, now: Date): string {
  if (!then) return '-';
  const seconds = Math.max(0, Math.floor((now.getTime() - then.getTime()) / 1_000));
  if (seconds < 120) return `${seconds}s`;
  if (seconds < 7_200) return `${Math.floor(seconds / 60)}m`;
  return seconds < 172_800 ? `${Math.floor(seconds / 3_600)}h` : `${Math.floor(seconds / 86_400)}d`;
}
