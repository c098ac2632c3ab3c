import { asDryRun, deliver } from '../../../shared/core/deliver';
import { nodeKey, type Node, type NodeRef } from '../../../shared/core/node';
import type { Outcome } from '../../../shared/core/outcome';
import { notFound } from '../../../shared/core/reconcile';
import { parseRuleSet, ruleSetId, type RuleSet } from '../../../shared/core/rule-set';
import { count, say } from '../output';
import type { Planned } from '../plan';
import { survey, type Surveyed } from '../survey';
import { deadlineOf, openTargets, selectionOf } from '../targets';
import type { BackfillOptions } from './command';
import { readJournal, type JournalEntry } from './journal';
import type { PushWave } from './push';
import { perTarget, untilEnded, type Look } from './until-ended';

/** What a node without rules of peermasq has: pushed, it takes away what a backfill brought. */
const nothing: RuleSet = {
  generation: 1,
  randomFully: false,
  sources: [],
  exemptions: [],
  destinations: [],
  probes: [],
};

export interface Rollback {
  /** The nodes that a backfill touched, each with what it had before as its plan. */
  readonly nodes: readonly Planned[];
  /** Every node that it touched, and that was asked for, is among them. */
  readonly isWhole: boolean;
}

export async function planRollback(options: BackfillOptions): Promise<Rollback> {
  const { rollback } = options;
  const journal = readJournal(typeof rollback === 'string' ? rollback : undefined);
  const touched = journal.nodes.filter(({ state }) => !neverHanded.has(state));
  const orders = new Map(
    touched.flatMap((entry) => (isKnown(entry) ? [[entry.node, ruleSetOf(entry)] as const] : [])),
  );
  const targets = await openTargets(options);
  const [{ config }] = targets as [Surveyed['target']];
  const seen = await survey(targets, {
    ...selectionOf(options, config),
    ...(options.node !== undefined && { node: options.node }),
    deadline: deadlineOf(options),
    withBefore: true,
  });
  if (seen.faults[0]) throw seen.faults[0].error;
  const planned = seen.nodes.flatMap((one) => {
    const order = orders.get(nodeKey(one.node.ref));
    return order ? [toPlanned(one, order)] : [];
  });
  tell(journal.file, touched, orders.size - planned.length);
  return { nodes: planned, isWhole: touched.every(isKnown) };
}

/** Whatever else became of a node, it may have the rules: nobody may have heard of it. */
const neverHanded: ReadonlySet<string> = new Set(['untouched', 'skipped', 'held']);

const isKnown = (entry: JournalEntry): entry is JournalEntry & { before: string | null } =>
  entry.before !== undefined;

const ruleSetOf = ({ before }: { readonly before: string | null }): RuleSet =>
  before === null ? nothing : parseRuleSet(before);

function toPlanned(one: Surveyed, ruleSet: RuleSet): Planned {
  const { node, cluster } = one;
  const id = ruleSetId(ruleSet);
  const routes = node.recorded?.routes ?? 0;
  const plan = { kind: 'rule-set', ruleSet, id, routes, provenance: [], warnings: [] } as const;
  return { ...one, outcome: asDryRun({ node, cluster, plan }) };
}

function tell(file: string, touched: readonly JournalEntry[], absent: number): void {
  const unknown = touched.filter((entry) => !isKnown(entry)).map(({ name }) => name);
  say(`${file}: ${count(touched.length, 'node')} touched.`);
  if (unknown.length > 0)
    say(`Left as they are, because what they had before is not known: ${unknown.join(', ')}.`);
  if (absent > 0) say(`${count(absent, 'node')} of them no longer exist, or are not among those asked for.`);
}

/** Pushes plans as something new: a node refuses what is older than what it has. */
export const pushBack: PushWave = (nodes, deadline, onProven) => {
  const generation = Date.now();
  return perTarget(nodes, (target, some) => {
    const orders = new Map(some.map((one) => [nodeKey(one.node.ref), one]));
    const look: Look = async (refs) => {
      // As nodes are now: somebody may have pushed to them since the plan was shown.
      const found = await target.cloud.nodes.get(refs, deadline);
      const planned = found.flatMap((node) => {
        const order = orders.get(nodeKey(node.ref));
        return order ? [asNew(node, order, generation)] : [];
      });
      const { outcomes } = await deliver(planned, target.cloud.channel, target.log, deadline);
      return [...outcomes, ...absent(refs, found)];
    };
    return untilEnded(some, look, deadline, onProven);
  });
};

function asNew(node: Node, { cluster, outcome: { plan } }: Planned, generation: number) {
  return { node, cluster, plan: { ...plan, ruleSet: { ...plan.ruleSet, generation } } };
}

const absent = (refs: readonly NodeRef[], found: readonly Node[]): Outcome[] =>
  notFound(refs, found, 'The cloud does not show this instance any more.');
