import { setTimeout as sleep } from 'node:timers/promises';
import type { Deadline } from '../../shared/core/cloud';
import type { Outcome } from '../../shared/core/reconcile/outcome';
import type { Dependencies, ReconcileResult } from '../../shared/core/reconcile/reconcile';
import { restartWhereConfigured } from '../../shared/core/reconcile/restart-nodes';
import type { NonEmpty } from '../../shared/core/util/collections';
import { selectClusters, type BackfillRequest } from './backfill-request';
import { countOutcomes, countSkipReasons, toResponse, type BackfillResponse } from './backfill-response';
import { reconcileEach } from './reconcile-each';

export interface SweepSummary {
  readonly outcomes: readonly Outcome[];
  /** The swept clusters, including clusters without nodes. */
  readonly clusters: readonly string[];
  /** False if an account or project could not be reconciled at all. */
  readonly isComplete: boolean;
}

export interface BackfillOptions {
  readonly deadline: Deadline;
  /** Called before nodes are restarted. It is called even when an error is thrown afterwards. */
  readonly onSummary?: (summary: SweepSummary) => void;
}

/**
 * Reconciles every existing node of the clusters.
 * @param targets one for each account or project; an error in one target does not stop the others
 * @throws PeermasqError for an error that affects all nodes of an account or project
 */
export async function backfill(
  request: BackfillRequest,
  targets: NonEmpty<Dependencies>,
  { deadline, onSummary }: BackfillOptions,
): Promise<BackfillResponse> {
  const [{ config, log }] = targets;
  const { dryRun, allowRouteLoss, skipNewNodes } = request;
  const clusters = selectClusters(request, config);
  const options = { deadline, isDryRun: dryRun, allowRouteLoss, skipNewNodes };
  const { results, errors } = await reconcileEach(targets, { clusters }, options);
  const outcomes = results.flatMap((result) => result.outcomes);
  onSummary?.({ outcomes, clusters, isComplete: results.length === targets.length });
  const counts = countOutcomes(outcomes);
  log.info('SweepFinished', { dryRun, counts, skips: countSkipReasons(outcomes), errors: errors.length });
  if (errors.length > 0) throw errors[0];
  return toResponse({ dryRun }, dryRun ? outcomes : await restartAll(targets, results, deadline));
}

/** The maximum time for restarts. It is limited because restarts delay the next sweep. */
const restartBudgetMs = 900_000;

/**
 * Restarts the nodes that need a restart.
 * @param results one for each target
 */
async function restartAll(
  targets: readonly Dependencies[],
  results: readonly ReconcileResult[],
  deadline: Deadline,
): Promise<readonly Outcome[]> {
  const options = { deadline: Math.min(deadline, Date.now() + restartBudgetMs), wait: sleep };
  const outcomes: Outcome[] = [];
  for (const [index, dependencies] of targets.entries()) {
    const reconciled = results[index]?.outcomes ?? [];
    outcomes.push(...(await restartWhereConfigured(reconciled, dependencies, options)));
  }
  return outcomes;
}
