import type { PushedNode, PushRecord, PushResult } from '../cloud';
import { asPeermasqError, RetryableError, type PeermasqError } from '../model/errors';
import { nodeKey, type Node, type NodeKey } from '../model/node';
import { formatOf } from '../model/rule-set';
import { definedOnly, groupBy, type NonEmpty } from '../util/collections';
import {
  outcomeOf,
  type Expected,
  permissionErrorIn,
  recordOutcomes,
  writeRecords,
  type DeliveryContext,
  type DeliveryResult,
  type PushResponse,
} from './evaluate-report';
import { subjectOf, type Outcome } from './outcome';
import type { Plan } from './plan';

export interface PlannedNode {
  readonly node: Node;
  readonly cluster: string;
  readonly plan: Extract<Plan, { kind: 'rule-set' }>;
}

export interface PushContext extends DeliveryContext {
  /** Whether to push also to nodes that have already proven the rule set. */
  readonly force?: boolean;
}

const isUpToDate = ({ node: { recorded }, plan: { id } }: PlannedNode): boolean =>
  recorded?.isProven === true && recorded.ruleSetId === id;

export function toPlannedOutcome(planned: PlannedNode): Extract<Outcome, { kind: 'planned' }> {
  const { node, cluster, plan } = planned;
  return { ...subjectOf(node, cluster), kind: 'planned', plan, isChange: !isUpToDate(planned) };
}

/** Pushes each rule set once, to all nodes that need it, and collects the proofs of these nodes. */
export async function pushRuleSets(
  planned: readonly PlannedNode[],
  context: PushContext,
): Promise<DeliveryResult> {
  const { channel, deadline, force = false } = context;
  const upToDate = force ? [] : planned.filter(isUpToDate);
  const outdated = force ? planned : planned.filter((one) => !isUpToDate(one));
  const groups = [...groupBy(outdated, ({ plan }) => plan.id).values()];
  const groupResults = await Promise.all(groups.map((group) => pushGroup(group, context)));
  const pushes = groupResults.flatMap((group) => group.pushes);

  const pushed = pushes.filter((push): push is PushedNode => push.result === 'pushed');
  const notPushed = pushes.filter((push) => push.result !== 'pushed');
  const proofs = pushed.length === 0 ? [] : await channel.collectProofs(pushed, deadline);

  const byNode = new Map(planned.map((one) => [nodeKey(one.node.ref), one]));
  const responses = proofs.map((proof): PushResponse => {
    const one = findPlanned(byNode, proof.node);
    return { proof, expected: expectedOf(one), cluster: one.cluster, routes: one.plan.routes };
  });
  const recorded = await recordOutcomes(responses, context);
  const recordFailures = await writeRecords(
    [...recordsOfUpToDate(upToDate), ...recordsOfClockSkew(notPushed)],
    context,
  );
  return {
    outcomes: [
      ...upToDate.map(toProvenOutcome),
      ...notPushed.map((push): Outcome => {
        const one = findPlanned(byNode, push.node);
        return { ...subjectOf(one.node, one.cluster), ...outcomeOf(push, expectedOf(one)) };
      }),
      ...recorded.outcomes,
    ],
    errors: [
      ...groupResults.flatMap(({ error }) => error ?? []),
      ...recorded.errors,
      ...permissionErrorIn(recordFailures),
    ],
  };
}

interface GroupResult {
  readonly pushes: readonly PushResult[];
  readonly error?: PeermasqError;
}

/** Pushes to one group of nodes. Errors in one group do not stop the other groups. */
async function pushGroup(group: NonEmpty<PlannedNode>, context: PushContext): Promise<GroupResult> {
  const { channel, log, deadline, force = false } = context;
  const [{ cluster, plan }] = group;
  const nodes = group.map(({ node }) => node);
  try {
    const request = { ruleSet: plan.ruleSet, routes: plan.routes, force };
    const pushes = await channel.push(request, nodes, deadline);
    const pushed = pushes.filter(({ result }) => result === 'pushed').map(({ node }) => node.ref);
    const [first] = pushed;
    if (first) {
      const ids = pushed.map(({ id }) => id);
      log.info('RuleSetPushed', { cloud: first.cloud, cluster, ruleSet: plan.id, nodes: ids });
    }
    return { pushes };
  } catch (thrown) {
    const error = asPeermasqError(thrown);
    const pushes = nodes.map((node): PushResult => ({ result: 'failed', node, error }));
    return error instanceof RetryableError ? { pushes } : { pushes, error };
  }
}

/** Records nodes whose reports showed that they are up to date, so that the next sweep does not have to query them. */
const recordsOfUpToDate = (upToDate: readonly PlannedNode[]): PushRecord[] =>
  upToDate
    .filter(({ node }) => node.recorded?.isRecordOutdated)
    .map(({ node, plan: { id, routes } }) => ({ node, ruleSetId: id, state: 'proven', routes }));

/** Records nodes to which nothing can be pushed before someone has corrected a clock. */
const recordsOfClockSkew = (notPushed: readonly PushResult[]): PushRecord[] =>
  notPushed
    .filter((push) => push.result === 'failed' && push.error.code === 'clock-skew')
    .map(({ node }) =>
      definedOnly({ node, state: 'failed', code: 'clock-skew', routes: node.recorded?.routes } as const),
    );

function findPlanned(planned: ReadonlyMap<NodeKey, PlannedNode>, node: Node): PlannedNode {
  const found = planned.get(nodeKey(node.ref));
  if (found) return found;
  throw new Error(`The channel returned a result for ${nodeKey(node.ref)}, which received no push`);
}

const expectedOf = ({ plan: { id, ruleSet, warnings } }: PlannedNode): Expected => ({
  id,
  generation: ruleSet.generation,
  format: formatOf(ruleSet),
  warnings,
});

const toProvenOutcome = ({ node, cluster, plan }: PlannedNode): Outcome => ({
  ...subjectOf(node, cluster),
  kind: 'proven',
  ruleSetId: plan.id,
  warnings: plan.warnings,
  ...definedOnly({ ports: node.recorded?.ports }),
});
