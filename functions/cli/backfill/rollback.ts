import { toPlannedOutcome, pushRuleSets } from '../../../shared/core/reconcile/push';
import { nodeKey, type Node, type NodeRef } from '../../../shared/core/model/node';
import type { Outcome } from '../../../shared/core/reconcile/outcome';
import { notFoundOutcomes } from '../../../shared/core/reconcile/reconcile';
import { parseRuleSet, ruleSetId, type RuleSet } from '../../../shared/core/model/rule-set';
import { count, printErr } from '../output';
import type { PlannedChange } from '../plan';
import { dryRun, type NodePlan } from '../dry-run';
import { deadlineOf, openTargets, selectionOf } from '../targets';
import type { BackfillOptions } from '../backfill';
import { readJournal, type JournalEntry } from './journal';
import type { PushWave } from './push';
import { forEachTarget, pollUntilDone, type PollOutcomes } from './poll-until-done';

/** What a node without rules of peermasq has: pushed, it takes away what a backfill brought. */
const emptyRuleSet: RuleSet = {
  generation: 1,
  randomFully: false,
  sources: [],
  exemptions: [],
  destinations: [],
  probes: [],
};

export interface Rollback {
  /** The nodes that a backfill touched, each with what it had before as its plan. */
  readonly nodes: readonly PlannedChange[];
  /** Every node that it touched, and that was asked for, is among them. */
  readonly isComplete: boolean;
}

export async function planRollback(options: BackfillOptions): Promise<Rollback> {
  const { rollback } = options;
  const journal = readJournal(typeof rollback === 'string' ? rollback : undefined);
  const touched = journal.nodes.filter(({ state }) => !neverPushed.has(state));
  const byNode = new Map(
    touched.flatMap((entry) => (hasPrevious(entry) ? [[entry.node, ruleSetOf(entry)] as const] : [])),
  );
  const targets = await openTargets(options);
  const [{ config }] = targets as [NodePlan['target']];
  const dryRunResult = await dryRun(targets, {
    ...selectionOf(options, config),
    ...(options.node !== undefined && { node: options.node }),
    deadline: deadlineOf(options),
    withBefore: true,
  });
  if (dryRunResult.errors[0]) throw dryRunResult.errors[0].error;
  const planned = dryRunResult.nodes.flatMap((one) => {
    const entry = byNode.get(nodeKey(one.node.ref));
    return entry ? [toPlannedChange(one, entry)] : [];
  });
  reportScope(journal.file, touched, byNode.size - planned.length);
  return { nodes: planned, isComplete: touched.every(hasPrevious) };
}

/** Whatever else became of a node, it may have the rules: nobody may have heard of it. */
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

function reportScope(file: string, touched: readonly JournalEntry[], absent: number): void {
  const unknown = touched.filter((entry) => !hasPrevious(entry)).map(({ name }) => name);
  printErr(`${file}: ${count(touched.length, 'node')} touched.`);
  if (unknown.length > 0)
    printErr(`Left as they are, because what they had before is not known: ${unknown.join(', ')}.`);
  if (absent > 0)
    printErr(`${count(absent, 'node')} of them no longer exist, or are not among those asked for.`);
}

/** Pushes plans as something new: a node refuses what is older than what it has. */
export const pushRollback: PushWave = (nodes, deadline, onProven) => {
  const generation = Date.now();
  return forEachTarget(nodes, (target, some) => {
    const byNode = new Map(some.map((one) => [nodeKey(one.node.ref), one]));
    const poll: PollOutcomes = async (refs) => {
      // As nodes are now: somebody may have pushed to them since the plan was shown.
      const found = await target.cloud.nodes.get(refs, deadline);
      const planned = found.flatMap((node) => {
        const entry = byNode.get(nodeKey(node.ref));
        return entry ? [withNewGeneration(node, entry, generation)] : [];
      });
      const { outcomes } = await pushRuleSets(planned, target.cloud.channel, target.log, deadline);
      return [...outcomes, ...absent(refs, found)];
    };
    return pollUntilDone(some, poll, deadline, onProven);
  });
};

function withNewGeneration(node: Node, { cluster, outcome: { plan } }: PlannedChange, generation: number) {
  return { node, cluster, plan: { ...plan, ruleSet: { ...plan.ruleSet, generation } } };
}

const absent = (refs: readonly NodeRef[], found: readonly Node[]): Outcome[] =>
  notFoundOutcomes(refs, found, 'The cloud does not show this instance any more.');
