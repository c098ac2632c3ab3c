import { nodeKey } from '../../shared/core/model/node';
import type { LastPush } from '../../shared/core/model/recorded-state';
import { describePortUse, fewPortsLeftPercent, usedPercent } from '../../shared/core/model/report';
import { reasonOf } from '../../shared/core/reconcile/outcome';
import { groupBy, type NonEmpty } from '../../shared/core/util/collections';
import { escapeControls } from '../../shared/core/util/shell';
import { targetErrorDocument, uncheckedTargetLines, type DryRunResult, type NodePlan } from './dry-run';
import { count, table, type CommandOutput } from './output';

const states = ['proven', 'pending', 'failed', 'needs-reboot', 'skipped'] as const;
type State = (typeof states)[number];

interface NodeStatus {
  readonly state: State;
  /** Whether the recorded rule set differs from the planned one; null without a plan. */
  readonly drift: boolean | null;
  /** Why the node is in this state. Empty for a proven node with enough free source ports. */
  readonly reason: string;
}

type NodeWithStatus = NodePlan & { readonly status: NodeStatus };

interface ClusterCounts {
  readonly target: string;
  readonly cluster: string;
  readonly nodes: number;
  /** The number of nodes in each state, in the order of `states`. */
  readonly counts: readonly number[];
  readonly drifted: number;
}

export interface StatusFormat {
  /** Whether to list proven and skipped nodes, too. */
  readonly all: boolean;
  readonly now: Date;
}

export function formatStatus(result: DryRunResult, format: StatusFormat): CommandOutput {
  const nodes = result.nodes.map((one): NodeWithStatus => ({ ...one, status: statusOf(one) }));
  const groups = groupBy(nodes, ({ target, cluster }) => `${target.name} ${cluster}`);
  const clusters = [...groups.values()].map(countStates);
  const sections = nodes.length > 0 ? [clusterTable(clusters), ...nodeSections(nodes, format)] : [];
  const isEmpty = nodes.length === 0 && result.errors.length === 0;
  return {
    document: {
      clusters: clusters.map(({ counts, ...rest }) => ({
        ...rest,
        ...Object.fromEntries(states.map((state, index) => [state, counts[index] ?? 0])),
      })),
      nodes: nodes.map(nodeDocument),
      errors: result.errors.map(targetErrorDocument),
    },
    text: [
      ...sections,
      ...(isEmpty ? ['No nodes found in the selected clusters.'] : []),
      ...uncheckedTargetLines(result),
    ].join('\n\n'),
  };
}

function statusOf({ node, outcome }: NodePlan): NodeStatus {
  switch (outcome.kind) {
    case 'skipped':
      return { state: 'skipped', drift: null, reason: outcome.skip.detail };
    case 'held':
      return {
        state: node.recorded?.isProven ? 'proven' : 'pending',
        drift: null,
        reason: `Held: ${outcome.detail} Use \`npx peermasq backfill --allow-route-loss\` to push it anyway.`,
      };
    case 'planned':
      return outcome.isChange
        ? unprovenStatus(node, outcome.plan.id)
        : { state: 'proven', drift: false, reason: fewPortsLeft(node) };
    default:
      return { state: 'pending', drift: null, reason: reasonOf(outcome) };
  }
}

/**
 * Warns that connections from a proven node may soon fail because it has few source ports left. Empty if the node's
 * report was not read.
 */
const fewPortsLeft = ({ recorded }: NodePlan['node']): string =>
  (recorded?.ports ?? [])
    .filter((use) => usedPercent(use) >= fewPortsLeftPercent)
    .map(describePortUse)
    .join(' ');

function unprovenStatus({ recorded, lastPush }: NodePlan['node'], plannedId: string): NodeStatus {
  const drift = recorded !== undefined && recorded.ruleSetId !== plannedId;
  if (lastPush?.state === 'failed') return { state: 'failed', drift, reason: failureReason(lastPush) };
  if (lastPush?.state === 'needs-reboot')
    return { state: 'needs-reboot', drift, reason: 'The node applies its rule set at its next boot.' };
  if (!recorded) return { state: 'pending', drift, reason: 'Nothing has been pushed yet.' };
  const reason = drift ? 'The rule set differs from the plan.' : 'The rule set is not proven yet.';
  return { state: 'pending', drift, reason };
}

const failureReason = ({ code }: LastPush): string =>
  code === undefined
    ? 'The last push failed. See the log for the reason.'
    : `The last push failed: ${code}. See docs/runbook.md#${code}.`;

function countStates(group: NonEmpty<NodeWithStatus>): ClusterCounts {
  const [{ target, cluster }] = group;
  const counts = states.map((state) => group.filter(({ status }) => status.state === state).length);
  const drifted = group.filter(hasDrifted).length;
  return { target: target.name, cluster, nodes: group.length, counts, drifted };
}

const hasDrifted = ({ status }: NodeWithStatus): boolean => status.drift === true;

const isHealthy = ({ status: { state, reason } }: NodeWithStatus): boolean =>
  state === 'skipped' || (state === 'proven' && reason === '');

const clusterTable = (clusters: readonly ClusterCounts[]): string =>
  table(
    ['CLOUD', 'CLUSTER', 'NODES', ...states.map((state) => state.toUpperCase()), 'DRIFTED'],
    clusters.map(({ target, cluster, nodes, counts, drifted }) =>
      [target, escapeControls(cluster), nodes, ...counts, drifted].map(String),
    ),
  );

function nodeSections(nodes: readonly NodeWithStatus[], { all, now }: StatusFormat): string[] {
  const listed = nodes.filter((one) => all || !isHealthy(one) || hasDrifted(one));
  const hidden = nodes.length - listed.length;
  return [
    ...(listed.length === 0 ? [] : [nodeTable(listed, now)]),
    ...(hidden === 0 ? [] : [`${count(hidden, 'node')} proven or skipped. Use --all to list them.`]),
  ];
}

function nodeTable(nodes: readonly NodeWithStatus[], now: Date): string {
  return table(
    ['NODE', 'ID', 'CLUSTER', 'STATE', 'SINCE', 'AGE', 'RULE SET', 'DRIFT', 'REASON'],
    nodes.map((one) => [
      escapeControls(one.node.name),
      nodeKey(one.node.ref),
      escapeControls(one.cluster),
      one.status.state,
      formatAge(endedAt(one), now),
      formatAge(one.node.launchedAt, now),
      one.node.recorded?.ruleSetId.slice(0, 12) ?? '-',
      formatDrift(one.status),
      escapeControls(one.status.reason),
    ]),
  );
}

function formatDrift({ drift }: NodeStatus): string {
  if (drift === null) return '-';
  return drift ? 'yes' : 'no';
}

const nodeDocument = (one: NodeWithStatus) => ({
  node: nodeKey(one.node.ref),
  name: one.node.name,
  target: one.target.name,
  cluster: one.cluster,
  ...one.status,
  ruleSet: one.node.recorded?.ruleSetId ?? null,
  ports: one.node.recorded?.ports ?? [],
  launchedAt: one.node.launchedAt?.toISOString() ?? null,
  endedAt: endedAt(one)?.toISOString() ?? null,
});

/** When the last push to the node ended. */
const endedAt = ({ node: { lastPush, recorded } }: NodePlan): Date | undefined =>
  lastPush?.at ?? recorded?.at;

/** Formats an age as kubectl does: 45s, 12m, 5h, 3d. */
function formatAge(then: Date | undefined, now: Date): string {
  if (!then) return '-';
  const seconds = Math.max(0, Math.floor((now.getTime() - then.getTime()) / 1_000));
  if (seconds < 120) return `${seconds}s`;
  if (seconds < 7_200) return `${Math.floor(seconds / 60)}m`;
  return seconds < 172_800 ? `${Math.floor(seconds / 3_600)}h` : `${Math.floor(seconds / 86_400)}d`;
}
