import { groupBy } from '../../../shared/core/util/collections';
import { isUnproven, sourcePortsUsedPercent, type Outcome } from '../../../shared/core/reconcile/outcome';
import type { Log } from '../../../shared/core/log';
import type { SweepSummary } from '../../runtime/backfill';

/** A node is reported as unproven if it is still not proven this long after its launch. */
const objectiveMs = 180_000;

/**
 * Writes a log entry for each cluster, including clusters without nodes. The log-based metrics in infra/gcp are built
 * from these entries. An incomplete sweep writes none, because its counts would look healthy.
 */
export function logClusterMetrics({ outcomes, clusters, isComplete }: SweepSummary, log: Log): void {
  if (!isComplete) return;
  const byCluster = groupBy(outcomes, ({ cluster = '' }) => cluster);
  const names = new Set([...clusters.filter((name) => name !== '*'), ...byCluster.keys()]);
  names.delete('');
  for (const cluster of names) {
    log.info('ClusterSwept', { cloud: 'gcp', cluster, ...counts(byCluster.get(cluster) ?? []) });
  }
}

function counts(outcomes: readonly Outcome[]): Record<string, number> {
  const of = (kind: Outcome['kind']) => outcomes.filter((outcome) => outcome.kind === kind).length;
  return {
    nodes: outcomes.length,
    proven: of('proven'),
    pending: of('pending'),
    failed: of('failed'),
    held: of('held'),
    needsReboot: of('needs-reboot'),
    sourcePortsUsedPercent: sourcePortsUsedPercent(outcomes) ?? 0,
    unproven: outcomes.filter((outcome) => isUnproven(outcome, Date.now() - objectiveMs)).length,
  };
}
