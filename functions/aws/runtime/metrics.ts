import { apiCalls } from '../../../shared/aws/client/api-calls';
import {
  apiMetrics,
  clusterMetrics,
  metricsNamespace,
  type ClusterMetric,
} from '../../../shared/aws/metric-names';
import { chunks } from '../../../shared/aws/client/call';
import { groupBy } from '../../../shared/core/util/collections';
import { nodeKey, type NodeKey } from '../../../shared/core/model/node';
import { hasChanged, retryAfterSeconds, type Outcome } from '../../../shared/core/reconcile/outcome';
import { stage } from '../../runtime/settings';
import { settings } from './accounts';

/** https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html */
function write(
  units: Readonly<Record<string, string>>,
  values: Readonly<Record<string, number | readonly number[]>>,
  cluster?: string,
): void {
  const dimensions = { cloud: 'aws', stage: stage(), ...(cluster !== undefined && { cluster }) };
  const sets = [['cloud', 'stage'], ...(cluster === undefined ? [] : [['cloud', 'stage', 'cluster']])];
  const Metrics = Object.keys(values).map((Name) => ({ Name, Unit: units[Name] ?? 'None' }));
  if (Metrics.length === 0) return;
  const directive = { Namespace: metricsNamespace, Dimensions: sets, Metrics };
  const _aws = { Timestamp: Date.now(), CloudWatchMetrics: [directive] };
  // Not console.log: Lambda would wrap it into its own JSON, which CloudWatch does not take metrics from.
  process.stdout.write(`${JSON.stringify({ _aws, ...dimensions, ...values })}\n`);
}

export function writeApiMetrics(): void {
  const { calls, throttles } = apiCalls.take();
  if (calls > 0) write(apiMetrics, { ApiCalls: calls, ApiThrottles: throttles });
}

/**
 * What became of nodes, by cluster.
 * @param joinedAt when nodes joined whose first proof this is to time
 */
export function writeNodeMetrics(
  outcomes: readonly Outcome[],
  joinedAt: ReadonlyMap<NodeKey, Date> = new Map(),
): void {
  for (const [cluster, some] of byCluster(outcomes)) {
    const counts = {
      NodesProven: some.filter(isNewlyProven).length,
      NodesFailed: some.filter(isFailed).length,
      NodesHeld: some.filter(({ kind }) => kind === 'held').length,
    };
    const seconds = some.filter(isNewlyProven).flatMap(({ node }) => {
      const at = joinedAt.get(nodeKey(node));
      return at ? Math.max(0, (Date.now() - at.getTime()) / 1_000) : [];
    });
    write(clusterMetrics, withoutZeros(counts), cluster);
    for (const SecondsToProven of chunks(seconds, valuesLimit))
      write(clusterMetrics, { SecondsToProven }, cluster);
  }
}

/**
 * How many nodes of each cluster are not proven though they had the time; to be told by each sweep, zeros too.
 * @param clusters that were looked at, whether they have nodes or not
 */
export function writeUnproven(outcomes: readonly Outcome[], clusters: readonly string[]): void {
  const counts = new Map(clusters.filter((name) => name !== '*').map((name) => [name, 0]));
  for (const [cluster, some] of byCluster(outcomes)) counts.set(cluster, some.filter(isUnproven).length);
  for (const [cluster, NodesUnproven] of counts) write(clusterMetrics, { NodesUnproven }, cluster);
}

/** Values of one metric in one entry (embedded metric format). */
const valuesLimit = 100;

const byCluster = (outcomes: readonly Outcome[]) =>
  groupBy(
    outcomes.filter((outcome) => outcome.cluster !== undefined),
    ({ cluster = '' }) => cluster,
  );

/** What is tried again has not failed yet. */
const isFailed = (outcome: Outcome): boolean =>
  outcome.kind === 'failed' && retryAfterSeconds(outcome) === undefined;

const isNewlyProven = (outcome: Outcome): boolean => outcome.kind === 'proven' && hasChanged(outcome);

function isUnproven({ kind, launchedAt }: Outcome): boolean {
  const isOpen = kind === 'pending' || kind === 'failed';
  return isOpen && (launchedAt === undefined || Date.now() - launchedAt.getTime() > settings.objectiveMs);
}

const withoutZeros = (counts: Partial<Record<ClusterMetric, number>>): Record<string, number> =>
  Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0));
