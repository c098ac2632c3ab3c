import { nodeKey } from '../../shared/core/model/node';
import { printRuleSet } from '../../shared/core/model/rule-set';
import { hasChanged, type Outcome } from '../../shared/core/reconcile/outcome';
import { groupBy } from '../../shared/core/util/collections';

export interface BackfillResponse {
  readonly dryRun: boolean;
  /** The number of nodes with each outcome. */
  readonly counts: Readonly<Record<string, number>>;
  /** The result of each node, except for nodes that had already been proven. */
  readonly nodes: readonly Readonly<Record<string, unknown>>[];
  /**
   * In a dry run, the rule sets that would be pushed, by ID. They are listed separately because many nodes share a
   * rule set and a Lambda response is limited to 6 MB.
   */
  readonly ruleSets: Readonly<Record<string, string>>;
}

export const toResponse = (
  { dryRun }: Pick<BackfillResponse, 'dryRun'>,
  outcomes: readonly Outcome[],
): BackfillResponse => ({
  dryRun,
  counts: countOutcomes(outcomes),
  nodes: outcomes.filter(hasChanged).map(nodeResult),
  ruleSets: Object.fromEntries(outcomes.flatMap(ruleSetEntry)),
});

export const countOutcomes = (outcomes: readonly Outcome[]) => countValues(outcomes.map(({ kind }) => kind));

export const countSkipReasons = (outcomes: readonly Outcome[]) =>
  countValues(outcomes.flatMap((outcome) => (outcome.kind === 'skipped' ? outcome.skip.reason : [])));

function countValues(values: readonly string[]): Record<string, number> {
  return Object.fromEntries([...groupBy(values, String)].map(([value, group]) => [value, group.length]));
}

function ruleSetEntry(outcome: Outcome): [string, string][] {
  if (outcome.kind !== 'planned') return [];
  const { id, ruleSet } = outcome.plan;
  return [[id, printRuleSet(ruleSet)]];
}

function nodeResult(outcome: Outcome): Record<string, unknown> {
  const { node, cluster, kind } = outcome;
  return { node: nodeKey(node), cluster, outcome: kind, ...resultFields(outcome) };
}

function resultFields(outcome: Outcome): Record<string, unknown> {
  switch (outcome.kind) {
    case 'skipped': {
      const { reason, detail, warnings } = outcome.skip;
      return { reason, detail, warnings };
    }
    case 'held':
      return { detail: outcome.detail, warnings: outcome.warnings };
    case 'planned': {
      const { plan, isChange } = outcome;
      return { isChange, id: plan.id, warnings: plan.warnings };
    }
    case 'proven':
      return { id: outcome.ruleSetId, warnings: outcome.warnings };
    case 'pending':
    case 'needs-reboot':
      return { reason: outcome.reason };
    case 'failed': {
      const { code, message, advice } = outcome.error;
      return { code, reason: message, advice };
    }
  }
}
