import { PeermasqError, RetryableError } from '../model/errors';
import { groupBy } from '../util/collections';
import { outcomeOf, type Expected } from './evaluate-report';
import { nodeKey, type Node } from '../model/node';
import type { Outcome } from './outcome';
import type { Plan } from './plan';
import type { Channel, Deadline, PushRecord, Log, PushResult, PushedNode, RecordFailure } from '../cloud';
import { permissionErrorIn, writeRecords, recordOutcomes, type PushResponse } from './record-outcomes';

export interface PlannedNode {
  readonly node: Node;
  readonly cluster: string;
  readonly plan: Extract<Plan, { kind: 'rule-set' }>;
}

const isInForce = ({ node, plan: { id } }: PlannedNode): boolean =>
  node.recorded?.isProven === true && node.recorded.ruleSetId === id;

export function toPlannedOutcome(planned: PlannedNode): Extract<Outcome, { kind: 'planned' }> {
  return { ...subjectOf(planned), kind: 'planned', plan: planned.plan, isChange: !isInForce(planned) };
}

/**
 * Pushes each different rule set once, to all nodes that need it, then gathers what they report.
 * @param force those that have proven it need it too
 */
export async function pushRuleSets(
  planned: readonly PlannedNode[],
  channel: Channel,
  log: Log,
  deadline: Deadline,
  force = false,
): Promise<{ outcomes: Outcome[]; errors: PeermasqError[] }> {
  const upToDate = force ? [] : planned.filter(isInForce);
  const groups = groupBy(
    planned.filter((entry) => force || !isInForce(entry)),
    ({ plan: { id } }) => id,
  );
  const groupResults = await Promise.all(
    [...groups.values()].map((group) => pushGroup(group, channel, log, deadline, force)),
  );
  const pushes = groupResults.flatMap((groupResult) => groupResult.pushes);

  const pushed = pushes.filter((push): push is PushedNode => push.result === 'pushed');
  const proofs = pushed.length === 0 ? [] : await channel.collectProofs(pushed, deadline);

  const byNode = new Map(planned.map((entry) => [nodeKey(entry.node.ref), entry]));
  const entryOf = ({ node }: { readonly node: Node }) =>
    byNode.get(nodeKey(node.ref)) ?? failUnknownNode(node);
  const responses = proofs.map((proof): PushResponse => {
    const entry = entryOf(proof);
    return { proof, expected: expectedOf(entry), cluster: entry.cluster, routes: entry.plan.routes };
  });
  const recordedPushes = await recordOutcomes(responses, channel, log, deadline);
  const recordFailures = await recordAlreadyProven(upToDate, channel, log, deadline);
  return {
    outcomes: [
      ...upToDate.map(toProvenOutcome),
      ...pushes
        .filter((push) => push.result !== 'pushed')
        .map((push): Outcome => ({
          ...subjectOf(entryOf(push)),
          ...outcomeOf(push, expectedOf(entryOf(push))),
        })),
      ...recordedPushes.outcomes,
    ],
    errors: [
      ...groupResults.flatMap(({ error }) => error ?? []),
      ...recordedPushes.errors,
      ...permissionErrorIn(recordFailures),
    ],
  };
}

/** What nodes told of themselves is written where the next look finds it without asking them. */
async function recordAlreadyProven(
  proven: readonly PlannedNode[],
  channel: Channel,
  log: Log,
  deadline: Deadline,
): Promise<readonly RecordFailure[]> {
  const records = proven
    .filter(({ node }) => node.recorded?.isUnrecorded)
    .map(({ node, plan: { id, routes } }): PushRecord => ({ node, ruleSetId: id, state: 'proven', routes }));
  return writeRecords(records, channel, log, deadline);
}

const expectedOf = ({ plan: { id, ruleSet, warnings } }: PlannedNode): Expected => ({
  id,
  generation: ruleSet.generation,
  warnings,
});

const subjectOf = ({ node: { ref, launchedAt }, cluster }: PlannedNode) => ({
  node: ref,
  cluster,
  ...(launchedAt && { launchedAt }),
});

/** A channel that answers for a node it was not given breaks its contract. */
function failUnknownNode(node: Node): never {
  throw new Error(`The channel answered for ${nodeKey(node.ref)}, which was not pushed to`);
}

/** A fault of one group does not keep the others from their rules. */
async function pushGroup(
  group: readonly PlannedNode[],
  channel: Channel,
  log: Log,
  deadline: Deadline,
  force: boolean,
): Promise<{ pushes: readonly PushResult[]; error?: PeermasqError }> {
  const [first] = group;
  if (!first) return { pushes: [] };
  const nodes = group.map(({ node }) => node);
  try {
    const request = { ...first.plan, ...(force && { force }) };
    const pushes = await channel.push(request, nodes, deadline);
    const ids = pushes.filter(({ result }) => result === 'pushed').map(({ node }) => node.ref.id);
    const { cloud } = first.node.ref;
    if (ids.length > 0)
      log.info('RuleSetPushed', { cloud, cluster: first.cluster, ruleSet: first.plan.id, nodes: ids });
    return { pushes };
  } catch (error) {
    if (!(error instanceof PeermasqError)) throw error;
    const pushes = nodes.map((node): PushResult => ({ result: 'failed', node, error }));
    return error instanceof RetryableError ? { pushes } : { pushes, error: error };
  }
}

const toProvenOutcome = (entry: PlannedNode): Outcome => ({
  ...subjectOf(entry),
  kind: 'proven',
  ruleSetId: entry.plan.id,
  warnings: entry.plan.warnings,
});
