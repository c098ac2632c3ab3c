import { setTimeout as pause } from 'node:timers/promises';
import type { Command } from 'commander';
import { groupBy } from '../../shared/core/group';
import { nodeKey } from '../../shared/core/node';
import { reasonOf } from '../../shared/core/outcome';
import { visible } from '../../shared/core/shell';
import { exitCodes } from './faults';
import { atLeast, count, examples, outputOption, print, table, type Answer, type Format } from './output';
import { faultDocument, notLookedAt, survey, tellFaults, type Survey, type Surveyed } from './survey';
import {
  clusterOption,
  deadlineOf,
  openTargets,
  selectionOf,
  withTargets,
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
  const command = withTargets(
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
  const seen = await look(options, await openTargets(options));
  print(statusAnswer(seen, options.all === true, new Date()), options.output);
  tellFaults(seen, options.debug);
}

async function look(options: StatusOptions, targets: readonly Target[]): Promise<Survey> {
  const [{ config }] = targets as [Target];
  return survey(targets, { ...selectionOf(options, config), deadline: deadlineOf(options) });
}

/** A look that fails is told, and does not end the watch. */
async function watch(options: StatusOptions): Promise<void> {
  process.once('SIGINT', () => process.exit(exitCodes.fine));
  const targets = await openTargets(options);
  for (;;) {
    const seen = await look(options, targets);
    const answer = statusAnswer(seen, options.all === true, new Date());
    if (process.stdout.isTTY && options.output === 'table') console.clear();
    print(answer, options.output);
    tellFaults(seen, options.debug);
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
export function statusOf({ node, outcome }: Surveyed): NodeStatus {
  switch (outcome.kind) {
    case 'skipped':
      return { state: 'skipped', drift: null, reason: outcome.skip.detail };
    case 'held':
      return {
        state: node.recorded?.isProven ? 'proven' : 'pending',
        drift: null,
        reason: held(outcome.detail),
      };
    case 'planned':
      return outcome.isChange
        ? unproven(node, outcome.plan.id)
        : { state: 'proven', drift: false, reason: '' };
    default:
      return { state: 'pending', drift: null, reason: reasonOf(outcome) };
  }
}

const held = (detail: string): string => `Held: ${detail} \`npx peermasq backfill --accept-loss\` pushes it.`;

function unproven({ recorded, lastEnd }: Surveyed['node'], planned: string): NodeStatus {
  const drift = recorded !== undefined && recorded.ruleSetId !== planned;
  if (lastEnd?.state === 'failed')
    return { state: 'failed', drift, reason: 'The last push failed; the log says why.' };
  if (lastEnd?.state === 'needs-reboot')
    return { state: 'needs-reboot', drift, reason: 'It takes what it was handed when it boots.' };
  const reason = recorded
    ? drift
      ? 'It has another rule set than it is to have.'
      : 'It has not proven its rule set yet.'
    : 'Nothing was pushed to it yet.';
  return { state: 'pending', drift, reason };
}

type Told = Surveyed & { readonly status: NodeStatus };

/** How many nodes of one cluster are in which state. */
interface ClusterCounts {
  readonly target: string;
  readonly cluster: string;
  readonly nodes: number;
  readonly counts: readonly number[];
  readonly drifted: number;
}

export function statusAnswer(seen: Survey, isAll: boolean, now: Date): Answer {
  const all = seen.nodes.map((one): Told => ({ ...one, status: statusOf(one) }));
  const groups = groupBy(all, ({ target, cluster }) => `${target.name} ${cluster}`);
  const clusters = [...groups.values()].map(countsOf);
  return {
    document: {
      clusters: clusters.map(({ counts, ...rest }) => ({
        ...rest,
        ...Object.fromEntries(states.map((state, index) => [state, counts[index] ?? 0])),
      })),
      nodes: all.map(nodeDocument),
      faults: seen.faults.map(faultDocument),
    },
    text: [
      ...(all.length === 0 ? none(seen) : sections(all, clusters, isAll, now)),
      ...notLookedAt(seen),
    ].join('\n\n'),
  };
}

function countsOf(some: readonly Told[]): ClusterCounts {
  const [{ target, cluster }] = some as [Told];
  const counts = states.map((state) => some.filter(({ status }) => status.state === state).length);
  const drifted = some.filter(isDrifted).length;
  return { target: target.name, cluster, nodes: some.length, counts, drifted };
}

const nodeDocument = ({ node, target, cluster, status }: Told) => ({
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
  all: readonly Told[],
  clusters: readonly ClusterCounts[],
  isAll: boolean,
  now: Date,
): string[] {
  const isWell = ({ status: { state, reason } }: Told) =>
    state === 'skipped' || (state === 'proven' && reason === '');
  const listed = all.filter((one) => isAll || !isWell(one) || isDrifted(one));
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
      [target, visible(cluster), nodes, ...counts, drifted].map(String),
    ),
  );

const none = ({ faults }: Survey): string[] =>
  faults.length > 0 ? [] : ['No node of the clusters was found.'];

const isDrifted = ({ status }: Told): boolean => status.drift === true;

const endedAt = ({ lastEnd, recorded }: Surveyed['node']): Date | undefined => lastEnd?.at ?? recorded?.at;

function nodesTable(listed: readonly Told[], now: Date): string {
  return table(
    ['NODE', 'ID', 'CLUSTER', 'STATE', 'SINCE', 'AGE', 'RULE SET', 'DRIFT', 'REASON'],
    listed.map(({ node, cluster, status: { state, drift, reason } }) => [
      visible(node.name),
      nodeKey(node.ref),
      visible(cluster),
      state,
      ago(endedAt(node), now),
      ago(node.launchedAt, now),
      node.recorded?.ruleSetId.slice(0, 12) ?? '-',
      drift === null ? '-' : drift ? 'yes' : 'no',
      visible(reason),
    ]),
  );
}

/** As kubectl prints ages: 45s, 12m, 5h, 3d. */
export function ago(then: Date | undefined, now: Date): string {
  if (!then) return '-';
  const seconds = Math.max(0, Math.floor((now.getTime() - then.getTime()) / 1_000));
  if (seconds < 120) return `${seconds}s`;
  if (seconds < 7_200) return `${Math.floor(seconds / 60)}m`;
  return seconds < 172_800 ? `${Math.floor(seconds / 3_600)}h` : `${Math.floor(seconds / 86_400)}d`;
}
