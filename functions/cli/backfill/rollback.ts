import { nodeKey, type Node, type NodeRef } from '../../../shared/core/model/node';
import { parseRuleSet, ruleSetId, type RuleSet } from '../../../shared/core/model/rule-set';
import type { Outcome } from '../../../shared/core/reconcile/outcome';
import { pushRuleSets, toPlannedOutcome } from '../../../shared/core/reconcile/push';
import { notFoundOutcomes } from '../../../shared/core/reconcile/reconcile';
import { dryRunFor, type NodePlan, type PlannedChange } from '../dry-run';
import { count, printErr } from '../output';
import { readJournal, type JournalEntry } from './journal';
import type { BackfillOptions } from './options';
import { forEachTarget, pollUntilDone, type PollOutcomes } from './poll-until-done';
import type { PushWave } from './push';

/** The rule set for nodes that had no rules before the backfill. It removes the rules that the backfill installed. */
const emptyRuleSet: RuleSet = {
  generation: 1,
  randomFully: false,
  sources: [],
  exemptions: [],
  destinations: [],
  probes: [],
};

interface Rollback {
  /**
   * The selected nodes that the backfill touched. The plan of each node is the rule set it had before the backfill.
   */
  readonly nodes: readonly PlannedChange[];
  /** False if the rule set from before the backfill is unknown for a node. */
  readonly isComplete: boolean;
}

export async function planRollback(options: BackfillOptions): Promise<Rollback> {
  const { rollback } = options;
  const journal = readJournal(typeof rollback === 'string' ? rollback : undefined);
  const touched = journal.nodes.filter(({ state }) => !neverPushed.has(state));
  const restorable = touched.filter(hasPrevious);
  const previous = new Map(restorable.map((entry) => [entry.node, ruleSetOf(entry)]));
  const { nodes, errors } = await dryRunFor({ ...options, withBefore: true });
  if (errors[0]) throw errors[0].error;
  const planned = nodes.flatMap((one) => {
    const ruleSet = previous.get(nodeKey(one.node.ref));
    return ruleSet ? [toPlannedChange(one, ruleSet)] : [];
  });
  reportScope(journal.file, touched, restorable.length - planned.length);
  return { nodes: planned, isComplete: restorable.length === touched.length };
}

/**
 * The states of nodes that never got the new rules. In every other state a node may have the new rules, even if it
 * never reported them.
 */
const neverPushed: ReadonlySet<string> = new Set(['untouched', 'skipped', 'held']);

const hasPrevious = (entry: JournalEntry): entry is JournalEntry & { before: string | null } =>
  entry.before !== undefined;

const ruleSetOf = ({ before }: { readonly before: string | null }): RuleSet =>
  before === null ? emptyRuleSet : parseRuleSet(before);

function toPlannedChange(one: NodePlan, ruleSet: RuleSet): PlannedChange {
  const { node, cluster } = one;
  const id = ruleSetId(ruleSet);
  const routes = node.recorded?.routes ?? 0;
  const plan = { kind: 'rule-set', ruleSet, id, routes, provenance: [], warnings: [] } as const;
  return { ...one, outcome: toPlannedOutcome({ node, cluster, plan }) };
}

function reportScope(file: string, touched: readonly JournalEntry[], missing: number): void {
  const unknown = touched.filter((entry) => !hasPrevious(entry)).map(({ name }) => name);
  printErr(`${file}: ${count(touched.length, 'node')} touched.`);
  if (unknown.length > 0)
    printErr(`Cannot be rolled back, previous rule set unknown: ${unknown.join(', ')}.`);
  if (missing > 0) printErr(`Skipped, deleted or not selected: ${count(missing, 'node')}.`);
}

/**
 * Pushes the old rule sets with a new generation, because a node refuses a rule set that is older than its current
 * one.
 */
export const pushRollback: PushWave = (nodes, options) => {
  const generation = Date.now();
  return forEachTarget(nodes, (target, group) => {
    const byNode = new Map(group.map((one) => [nodeKey(one.node.ref), one]));
    const poll: PollOutcomes = async (refs) => {
      // Nodes are read again, because they may have changed since the plan was shown.
      const found = await target.cloud.nodes.get(refs, options.deadline);
      const planned = found.flatMap((node) => {
        const one = byNode.get(nodeKey(node.ref));
        return one ? [withGeneration(node, one, generation)] : [];
      });
      const { cloud, log } = target;
      const context = { channel: cloud.channel, log, deadline: options.deadline };
      const { outcomes } = await pushRuleSets(planned, context);
      return [...outcomes, ...missingNodeOutcomes(refs, found)];
    };
    return pollUntilDone(group, poll, options);
  });
};

function withGeneration(node: Node, { cluster, outcome: { plan } }: PlannedChange, generation: number) {
  return { node, cluster, plan: { ...plan, ruleSet: { ...plan.ruleSet, generation } } };
}

const missingNodeOutcomes = (refs: readonly NodeRef[], found: readonly Node[]): Outcome[] =>
  notFoundOutcomes(refs, found, 'The cloud no longer lists this instance.');
