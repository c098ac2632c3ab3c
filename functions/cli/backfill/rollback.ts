import { deliver, type Planned } from '../../../shared/core/deliver';
import { PeermasqError } from '../../../shared/core/errors';
import { groupBy } from '../../../shared/core/group';
import { nodeKey, type NodeKey } from '../../../shared/core/node';
import type { Outcome } from '../../../shared/core/outcome';
import { parseRuleSet, ruleSetId, type RuleSet } from '../../../shared/core/rule-set';
import type { BackfillOptions } from './command';
import type { PushWave } from './push';
import { readJournal, type JournalEntry } from './journal';
import { count, say } from '../output';
import { survey, type Surveyed } from '../survey';
import { deadlineOf, openTargets, selectionOf } from '../targets';

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
  readonly nodes: readonly Surveyed[];
  /** What each of them had before. */
  readonly orders: ReadonlyMap<NodeKey, RuleSet>;
}

/** Finds the nodes that a backfill touched, and what they had before. */
export async function planRollback(options: BackfillOptions): Promise<Rollback> {
  const { rollback } = options;
  const journal = readJournal(typeof rollback === 'string' ? rollback : undefined);
  const touched = journal.nodes.filter(({ state }) => state !== 'untouched');
  const unknown = touched.filter(({ before }) => before === undefined);
  const orders = new Map(touched.filter(isKnown).map((entry) => [entry.node, ruleSetOf(entry)]));
  say(`${journal.file}: ${count(orders.size, 'node')} had another rule set before, or none.`);
  if (unknown.length > 0)
    say(
      `Left as they are, because what they had before is not known: ${unknown.map(({ name }) => name).join(', ')}.`,
    );
  const targets = await openTargets(options);
  const [{ config }] = targets as [Surveyed['target']];
  const everything = { ...selectionOf(options, config), deadline: deadlineOf(options), withBefore: true };
  const seen = await survey(targets, everything);
  if (seen.faults[0]) throw seen.faults[0].error;
  const isNews = ({ recorded }: Surveyed['node'], order: RuleSet | undefined) =>
    order !== undefined && (recorded !== undefined || order !== nothing);
  const nodes = seen.nodes.filter(({ node }) => isNews(node, orders.get(nodeKey(node.ref))));
  const gone = orders.size - nodes.length;
  if (gone > 0)
    say(
      `${count(gone, 'node')} of them no longer exist, have nothing to give back, or are not in the targets asked for.`,
    );
  return { nodes, orders };
}

const isKnown = (entry: JournalEntry): entry is JournalEntry & { before: string | null } =>
  entry.before !== undefined;

const ruleSetOf = ({ before }: { readonly before: string | null }): RuleSet =>
  before === null ? nothing : parseRuleSet(before);

/** Pushes what nodes had before, as something new: a node refuses what is older than what it has. */
export function pushBack(orders: ReadonlyMap<NodeKey, RuleSet>): PushWave {
  return async (nodes, deadline) => {
    const generation = Date.now();
    const planned = (one: Surveyed): Planned & { target: Surveyed['target'] } => {
      const ruleSet = { ...(orders.get(nodeKey(one.node.ref)) ?? nothing), generation };
      const { node, cluster, target } = one;
      const routes = node.recorded?.routes ?? 0;
      const plan = {
        kind: 'rule-set',
        ruleSet,
        id: ruleSetId(ruleSet),
        routes,
        provenance: [],
        warnings: [],
      } as const;
      return { node, cluster, plan, target };
    };
    const byTarget = groupBy(nodes.map(planned), ({ target }) => target.name);
    const delivered = [...byTarget.values()].map(async (some): Promise<readonly Outcome[]> => {
      const [{ target }] = some as [(typeof some)[number]];
      try {
        return (await deliver(some, target.cloud.channel, target.log, deadline)).outcomes;
      } catch (error) {
        if (!(error instanceof PeermasqError)) throw error;
        return some.map(({ node, cluster }) => ({ node: node.ref, cluster, kind: 'failed', error }));
      }
    });
    return (await Promise.all(delivered)).flat();
  };
}
