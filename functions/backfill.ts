import { z } from 'zod';
import { clusterConfig, type Config } from '../shared/core/config';
import { messageOf, PermanentError } from '../shared/core/errors';
import { nodeKey } from '../shared/core/node';
import type { Outcome } from '../shared/core/outcome';
import type { Deadline } from '../shared/core/ports';
import { reconcile, type Dependencies } from '../shared/core/reconcile';
import { printRuleSet } from '../shared/core/rule-set';

const requestSchema = z.strictObject({
  /** Which clusters to look at; all configured ones when absent. */
  clusters: z.array(z.string().min(1)).min(1).optional(),
  /** Plan and answer, push nothing. */
  dryRun: z.boolean().default(false),
});

export type BackfillRequest = z.output<typeof requestSchema>;

export interface BackfillAnswer {
  readonly dryRun: boolean;
  /** How many nodes ended in each way. */
  readonly counts: Readonly<Record<string, number>>;
  readonly nodes: readonly Readonly<Record<string, unknown>>[];
}

/** @throws PermanentError that says what was read and what is accepted. */
export function parseBackfillRequest(body: unknown): BackfillRequest {
  try {
    return requestSchema.parse(body ?? {});
  } catch (cause) {
    throw new PermanentError(
      'bad-request',
      `The backfill request is not understood: ${cause instanceof z.ZodError ? z.prettifyError(cause) : messageOf(cause)}`,
      'Send {"clusters": ["NAME", …], "dryRun": true|false}; both are optional.',
      cause,
    );
  }
}

/** Looks at every existing node of the clusters and brings it to its rule set, or says what would change. */
export async function backfill(
  { clusters, dryRun }: BackfillRequest,
  dependencies: Dependencies,
  deadline: Deadline,
): Promise<BackfillAnswer> {
  const { config } = dependencies;
  for (const name of clusters ?? []) {
    if (!clusterConfig(config, name)) throw unknownCluster(name, config);
  }
  const selection = { clusters: clusters ?? config.clusters.map(({ name }) => name) };
  const outcomes = await reconcile(selection, dependencies, {
    deadline,
    isDryRun: dryRun,
  });
  const counts: Record<string, number> = {};
  for (const { kind } of outcomes) counts[kind] = (counts[kind] ?? 0) + 1;
  return { dryRun, counts, nodes: outcomes.map(row) };
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
function row(outcome: Outcome): Record<string, unknown> {
  const who = { node: nodeKey(outcome.node), cluster: outcome.cluster, outcome: outcome.kind };
  switch (outcome.kind) {
    case 'skipped':
      return {
        ...who,
        reason: outcome.skip.reason,
        detail: outcome.skip.detail,
        warnings: outcome.skip.warnings,
      };
    case 'held':
      return { ...who, detail: outcome.detail, warnings: outcome.warnings };
    case 'planned': {
      const { plan, isChange } = outcome;
      return { ...who, isChange, id: plan.id, ruleSet: printRuleSet(plan.ruleSet), warnings: plan.warnings };
    }
    case 'proven':
      return { ...who, id: outcome.ruleSetId, warnings: outcome.warnings };
    case 'pending':
      return { ...who, reason: outcome.reason };
    case 'failed':
      return {
        ...who,
        code: outcome.error.code,
        reason: outcome.error.message,
        advice: outcome.error.advice,
      };
  }
}
