import { inWords, PeermasqError, PermanentError } from '../../shared/core/errors';
import { nodeKey, type Node, type NodeKey } from '../../shared/core/node';
import type { Outcome } from '../../shared/core/outcome';
import type { Deadline } from '../../shared/core/ports';
import { pass } from '../../shared/core/reconcile';
import type { RuleSet } from '../../shared/core/rule-set';
import { exitCodes, printFault } from './faults';
import { say } from './output';
import { waitingFor } from './progress';
import type { Target } from './targets';

/** One node as it is, and what a push now would make of it. */
export interface Surveyed {
  readonly target: Target;
  readonly node: Node;
  readonly cluster: string;
  readonly outcome: Outcome;
  /** What it has in force, where the cloud still knows. */
  readonly before?: RuleSet;
}

export interface Survey {
  readonly nodes: readonly Surveyed[];
  /** What kept targets from being looked at; the others were. */
  readonly faults: readonly TargetFault[];
}

export interface TargetFault {
  readonly target: string;
  readonly error: PeermasqError;
}

export interface SurveyOptions {
  readonly clusters: readonly string[];
  /** A name, an id or a key (`gcp:1234…`) of one node. */
  readonly node?: string;
  readonly deadline: Deadline;
  readonly acceptsLoss?: boolean;
  /** Whether to ask what nodes have in force. */
  readonly withBefore?: boolean;
}

/**
 * Looks at every node of the clusters and pushes nothing.
 * @throws PermanentError when `node` is none of them, or several
 */
export async function survey(targets: readonly Target[], options: SurveyOptions): Promise<Survey> {
  const names = targets.map(({ name }) => name).join(', ');
  const looks = await waitingFor(
    `Looking at ${names}`,
    Promise.allSettled(targets.map((target) => surveyOne(target, options))),
  );
  const faults = looks.flatMap((look, index) =>
    look.status === 'rejected' ? [asFault(targets[index]?.name ?? '', look.reason)] : [],
  );
  const nodes = looks.flatMap((look) => (look.status === 'fulfilled' ? look.value : []));
  // With a fault the node may be where nobody could look.
  if (options.node !== undefined && nodes.length === 0 && faults.length === 0) throw noSuchNode(options.node);
  if (options.node !== undefined && nodes.length > 1) throw severalNodes(options.node, nodes);
  return { nodes, faults };
}

async function surveyOne(
  target: Target,
  { clusters, node, deadline, acceptsLoss = false, withBefore = false }: SurveyOptions,
): Promise<Surveyed[]> {
  const { nodes, outcomes } = await pass({ clusters }, target, { deadline, isDryRun: true, acceptsLoss });
  const byKey = new Map(outcomes.map((outcome) => [nodeKey(outcome.node), outcome]));
  const wanted = nodes.filter((one) => node === undefined || isMeant(one, node));
  const inForce = withBefore ? await textsInForce(target, wanted, deadline) : undefined;
  return wanted.flatMap((one) => {
    const outcome = byKey.get(nodeKey(one.ref));
    const before = inForce?.get(nodeKey(one.ref));
    if (!outcome) return [];
    const cluster = outcome.cluster ?? (one.clusters.join(', ') || 'none');
    return [{ target, node: one, cluster, outcome, ...(before && { before }) }];
  });
}

/** Without the permission for them a plan is still one; it shows all lines as new. */
async function textsInForce(
  { name, inspection }: Target,
  nodes: readonly Node[],
  deadline: Deadline,
): Promise<ReadonlyMap<NodeKey, RuleSet>> {
  try {
    return await inspection.inForce(nodes, deadline);
  } catch (error) {
    if (!(error instanceof PeermasqError)) throw error;
    say(`${name}: the text of what nodes have in force is not known: ${inWords(error)}`);
    return new Map();
  }
}

export const isMeant = ({ ref, name }: Node, text: string): boolean =>
  [name, ref.id, nodeKey(ref)].includes(text);

function asFault(target: string, reason: unknown): TargetFault {
  if (reason instanceof PeermasqError) return { target, error: reason };
  throw reason;
}

/** For documents. */
export const faultDocument = ({ target, error: { code, message, advice } }: TargetFault) => ({
  target,
  code,
  message,
  advice,
});

/** For people: what is missing in the answer above. */
export const notLookedAt = ({ faults }: Survey): string[] =>
  faults.map(({ target }) => `Not looked at: ${target}.`);

/** Tells every fault of a survey, and ends the command as failed where there is one. @returns whether there is */
export function tellFaults({ faults }: Survey, isDebug: boolean | undefined): boolean {
  for (const { target, error } of faults) printFault(error, isDebug === true, target);
  if (faults.length > 0) process.exitCode = exitCodes.fault;
  return faults.length > 0;
}

const noSuchNode = (text: string) =>
  new PermanentError(
    'no-such-node',
    `No node ${JSON.stringify(text)} of the clusters was found`,
    'Give its name, its id or CLOUD:ID as `npx peermasq status --all` prints them.',
  );

const severalNodes = (text: string, nodes: readonly Surveyed[]) =>
  new PermanentError(
    'several-nodes',
    `${nodes.length} nodes are called ${JSON.stringify(text)}: ${nodes.map(({ node }) => nodeKey(node.ref)).join(', ')}`,
    'Name one of these.',
  );
