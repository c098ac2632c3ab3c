import { setTimeout as pause } from 'node:timers/promises';
import * as z from 'zod';
import { clusterConfig, type Config } from '../../shared/core/model/config';
import { messageOf, PermanentError } from '../../shared/core/model/errors';
import { groupBy } from '../../shared/core/util/collections';
import { nodeKey } from '../../shared/core/model/node';
import { hasChanged, type Outcome } from '../../shared/core/reconcile/outcome';
import type { Deadline } from '../../shared/core/cloud';
import type { Dependencies, ReconcileResult } from '../../shared/core/reconcile/reconcile';
import { restartWhereConfigured } from '../../shared/core/reconcile/restart-nodes';
import { printRuleSet } from '../../shared/core/model/rule-set';
import { reconcileEach } from './reconcile-each';

const requestSchema = z.strictObject({
  /** Which clusters to look at; all configured ones when absent. */
  clusters: z.array(z.string().min(1)).min(1).optional(),
  /** Plan and answer, push nothing. */
  dryRun: z.boolean().default(false),
  /** Take rules away though far fewer routes are found than they were made from. */
  allowRouteLoss: z.boolean().default(false),
  /** Leave nodes that were launched a moment ago to their own events, as the schedule does. */
  skipNewNodes: z.boolean().default(false),
});

/** For people whose request was not understood. */
export const requestUsage =
  '{"clusters": ["NAME", …], "dryRun": true|false, "allowRouteLoss": true|false, "skipNewNodes": true|false}; all are optional.';

export type BackfillRequest = z.output<typeof requestSchema>;

/** What a backfill saw. */
export interface SweepSummary {
  readonly outcomes: readonly Outcome[];
  /** Those that were looked at, whether they have nodes or not. */
  readonly clusters: readonly string[];
  /** No account or project was left out by a fault. */
  readonly isComplete: boolean;
}

export interface BackfillResponse {
  readonly dryRun: boolean;
  /** How many nodes ended in each way. */
  readonly counts: Readonly<Record<string, number>>;
  /** Those of which there is something to tell: not the ones that were proven before. */
  readonly nodes: readonly Readonly<Record<string, unknown>>[];
  /** What a dry run would push, by id: many nodes have the same, and Lambda returns 6 MB at most. */
  readonly ruleSets: Readonly<Record<string, string>>;
}

/** @throws PermanentError that says what was read and what is accepted. */
export function parseBackfillRequest(body: unknown): BackfillRequest {
  try {
    return requestSchema.parse(body ?? {});
  } catch (cause) {
    throw new PermanentError(
      'bad-request',
      `The backfill request is not understood: ${cause instanceof z.ZodError ? z.prettifyError(cause) : messageOf(cause)}`,
      `Send ${requestUsage}`,
      cause,
    );
  }
}

/**
 * Looks at every existing node of the clusters and brings it to its rule set, or says what would change.
 * @param all one for each account or project that is looked at; a fault in one does not keep the others from it
 * @param observe is told what became of the nodes that were reached, also when a fault is thrown then
 * @throws PeermasqError for what concerns all nodes of one of them
 */
export async function backfill(
  { clusters, dryRun, allowRouteLoss, skipNewNodes }: BackfillRequest,
  targets: readonly Dependencies[],
  deadline: Deadline,
  onSummary: (summary: SweepSummary) => void = () => undefined,
): Promise<BackfillResponse> {
  const [{ config, log }] = targets as [Dependencies];
  for (const name of clusters ?? []) {
    if (!clusterConfig(config, name)) throw unknownCluster(name, config);
  }
  const selection = { clusters: clusters ?? config.clusters.map(({ name }) => name) };
  const options = { deadline, isDryRun: dryRun, allowRouteLoss, skipNewNodes };
  const { results, errors } = await reconcileEach(targets, selection, options);
  const reconciled = results.flatMap((one) => one.outcomes);
  onSummary({
    outcomes: reconciled,
    clusters: selection.clusters,
    isComplete: results.length === targets.length,
  });
  const skips = countValues(reconciled.flatMap((one) => (one.kind === 'skipped' ? one.skip.reason : [])));
  const counts = countOutcomes(reconciled);
  log.info('SweepFinished', { dryRun, counts, skips, errors: errors.length });
  if (errors.length > 0) throw errors[0];
  // Told before, because each restart takes minutes.
  const outcomes = dryRun ? reconciled : await restartAll(targets, results, deadline);
  return {
    dryRun,
    counts: countOutcomes(outcomes),
    nodes: outcomes.filter(hasChanged).map(nodeResult),
    ruleSets: Object.fromEntries(
      outcomes.flatMap((one) =>
        one.kind === 'planned' ? [[one.plan.id, printRuleSet(one.plan.ruleSet)] as const] : [],
      ),
    ),
  };
}

/** Restarts take the time of a few sweeps at the most. */
const restartBudgetMs = 900_000;

/** @param done the pass of each of `all` */
async function restartAll(
  targets: readonly Dependencies[],
  results: readonly ReconcileResult[],
  deadline: Deadline,
): Promise<readonly Outcome[]> {
  const restartDeadline = Math.min(deadline, Date.now() + restartBudgetMs);
  const restarted: Outcome[] = [];
  for (const [index, dependencies] of targets.entries()) {
    restarted.push(
      ...(await restartWhereConfigured(results[index]?.outcomes ?? [], dependencies, restartDeadline, pause)),
    );
  }
  return restarted;
}

const countOutcomes = (outcomes: readonly Outcome[]) => countValues(outcomes.map(({ kind }) => kind));

function countValues(values: readonly string[]): Record<string, number> {
  return Object.fromEntries([...groupBy(values, String)].map(([word, some]) => [word, some.length]));
}

function unknownCluster(name: string, { clusters }: Config): PermanentError {
  const known = clusters.map((cluster) => cluster.name).join(', ');
  return new PermanentError(
    'bad-request',
    `peermasq.yaml has no cluster ${JSON.stringify(name)}`,
    `Name one of those it has: ${known}.`,
  );
}

/** One node of the answer, in words. */
function nodeResult(outcome: Outcome): Record<string, unknown> {
  const subject = { node: nodeKey(outcome.node), cluster: outcome.cluster, outcome: outcome.kind };
  switch (outcome.kind) {
    case 'skipped':
      return {
        ...subject,
        reason: outcome.skip.reason,
        detail: outcome.skip.detail,
        warnings: outcome.skip.warnings,
      };
    case 'held':
      return { ...subject, detail: outcome.detail, warnings: outcome.warnings };
    case 'planned': {
      const { plan, isChange } = outcome;
      return { ...subject, isChange, id: plan.id, warnings: plan.warnings };
    }
    case 'proven':
      return { ...subject, id: outcome.ruleSetId, warnings: outcome.warnings };
    case 'pending':
    case 'needs-reboot':
      return { ...subject, reason: outcome.reason };
    case 'failed':
      return {
        ...subject,
        code: outcome.error.code,
        reason: outcome.error.message,
        advice: outcome.error.advice,
      };
  }
}
