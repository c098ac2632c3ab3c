import { apiCalls } from '../../../shared/aws/client/call';
import { apiMetrics, clusterMetrics, metricsNamespace, type ClusterMetric } from '../../../shared/aws/names';
import { chunks, definedOnly, groupBy } from '../../../shared/core/util/collections';
import { nodeKey, type NodeKey } from '../../../shared/core/model/node';
import {
  hasChanged,
  isUnproven,
  retryAfterSeconds,
  sourcePortsUsedPercent,
  type Outcome,
} from '../../../shared/core/reconcile/outcome';
import { stage } from '../../runtime/settings';
import { settings } from './accounts';

/**
 * https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
 */
function write(
  units: Readonly<Record<string, string>>,
  values: Readonly<Record<string, number | readonly number[]>>,
  cluster?: string,
): void {
  const dimensions = definedOnly({ cloud: 'aws', stage: stage(), cluster });
  const Dimensions = [['cloud', 'stage'], ...(cluster === undefined ? [] : [['cloud', 'stage', 'cluster']])];
  const Metrics = Object.keys(values).map((Name) => ({ Name, Unit: units[Name] ?? 'None' }));
  if (Metrics.length === 0) return;
  const directive = { Namespace: metricsNamespace, Dimensions, Metrics };
  const _aws = { Timestamp: Date.now(), CloudWatchMetrics: [directive] };
  // Metrics are not written with console.log: Lambda wraps that output in JSON, so CloudWatch would not find them.
  process.stdout.write(`${JSON.stringify({ _aws, ...dimensions, ...values })}\n`);
}

export function writeApiMetrics(): void {
  const { calls, throttles } = apiCalls.take();
  if (calls > 0) write(apiMetrics, { ApiCalls: calls, ApiThrottles: throttles });
}

/**
 * Writes how many nodes of each cluster have each outcome.
 * @param joinedAt when each node joined, to measure the time to its first proof
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
    const ports = { SourcePortsUsedPercent: sourcePortsUsedPercent(some) };
    write(clusterMetrics, { ...withoutZeros(counts), ...definedOnly(ports) }, cluster);
    for (const SecondsToProven of chunks(seconds, valuesLimit))
      write(clusterMetrics, { SecondsToProven }, cluster);
  }
}

/**
 * Writes how many nodes of each cluster are unproven after the objective. Zeros are written too, so that alarms
 * return to OK.
 * @param clusters all swept clusters, including those without nodes
 */
export function writeUnproven(outcomes: readonly Outcome[], clusters: readonly string[]): void {
  const counts = new Map(clusters.filter((name) => name !== '*').map((name) => [name, 0]));
  const launchedBefore = Date.now() - settings.objectiveMs;
  for (const [cluster, some] of byCluster(outcomes))
    counts.set(cluster, some.filter((outcome) => isUnproven(outcome, launchedBefore)).length);
  for (const [cluster, NodesUnproven] of counts) write(clusterMetrics, { NodesUnproven }, cluster);
}

/** The maximum number of values of one metric in an entry (embedded metric format). */
const valuesLimit = 100;

const byCluster = (outcomes: readonly Outcome[]) =>
  groupBy(
    outcomes.filter((outcome) => outcome.cluster !== undefined),
    ({ cluster = '' }) => cluster,
  );

/** A failure is counted only if it will not be retried. */
const isFailed = (outcome: Outcome): boolean =>
  outcome.kind === 'failed' && retryAfterSeconds(outcome) === undefined;

const isNewlyProven = (outcome: Outcome): boolean => outcome.kind === 'proven' && hasChanged(outcome);

const withoutZeros = (counts: Partial<Record<ClusterMetric, number>>): Record<string, number> =>
  Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0));
