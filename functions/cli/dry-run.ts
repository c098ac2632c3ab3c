import { formatError, PeermasqError, PermanentError } from '../../shared/core/model/errors';
import { nodeKey, type Node, type NodeKey } from '../../shared/core/model/node';
import type { Outcome } from '../../shared/core/reconcile/outcome';
import type { Deadline } from '../../shared/core/cloud';
import { reconcile } from '../../shared/core/reconcile/reconcile';
import type { RuleSet } from '../../shared/core/model/rule-set';
import { exitCodes, reportError } from './errors';
import { printErr } from './output';
import { withProgress } from './progress';
import type { Target } from './targets';

/** One node as it is, and what a push now would make of it. */
export interface NodePlan {
  readonly target: Target;
  readonly node: Node;
  readonly cluster: string;
  readonly outcome: Outcome;
  /** What it has in force, where the cloud still knows. */
  readonly before?: RuleSet;
}

export interface DryRunResult {
  readonly nodes: readonly NodePlan[];
  /** What kept targets from being looked at; the others were. */
  readonly errors: readonly TargetError[];
}

export interface TargetError {
  readonly target: string;
  readonly error: PeermasqError;
}

export interface DryRunOptions {
  readonly clusters: readonly string[];
  /** A name, an id or a key (`gcp:1234…`) of one node. */
  readonly node?: string;
  readonly deadline: Deadline;
  readonly allowRouteLoss?: boolean;
  /** Whether to ask what nodes have in force. */
  readonly withBefore?: boolean;
}

/**
 * Looks at every node of the clusters and pushes nothing.
 * @throws PermanentError when `node` is none of them, or several
 */
export async function dryRun(targets: readonly Target[], options: DryRunOptions): Promise<DryRunResult> {
  const names = targets.map(({ name }) => name).join(', ');
  const results = await withProgress(
    `Looking at ${names}`,
    Promise.allSettled(targets.map((target) => dryRunTarget(target, options))),
  );
  const errors = results.flatMap((result, index) =>
    result.status === 'rejected' ? [toTargetError(targets[index]?.name ?? '', result.reason)] : [],
  );
  const nodes = results.flatMap((result) => (result.status === 'fulfilled' ? result.value : []));
  // With a fault the node may be where nobody could look.
  if (options.node !== undefined && nodes.length === 0 && errors.length === 0)
    throw nodeNotFound(options.node);
  if (options.node !== undefined && nodes.length > 1) throw ambiguousNode(options.node, nodes);
  return { nodes, errors };
}

async function dryRunTarget(
  target: Target,
  { clusters, node, deadline, allowRouteLoss = false, withBefore = false }: DryRunOptions,
): Promise<NodePlan[]> {
  const { nodes, outcomes } = await reconcile({ clusters }, target, {
    deadline,
    isDryRun: true,
    allowRouteLoss,
  });
  const byKey = new Map(outcomes.map((outcome) => [nodeKey(outcome.node), outcome]));
  const selected = nodes.filter((one) => node === undefined || isSelected(one, node));
  const inForce = withBefore ? await readRuleSetsInForce(target, selected, deadline) : undefined;
  return selected.flatMap((one) => {
    const outcome = byKey.get(nodeKey(one.ref));
    const before = inForce?.get(nodeKey(one.ref));
    if (!outcome) return [];
    const cluster = outcome.cluster ?? (one.clusters.join(', ') || 'none');
    return [{ target, node: one, cluster, outcome, ...(before && { before }) }];
  });
}

/** Without the permission for them a plan is still one; it shows all lines as new. */
async function readRuleSetsInForce(
  { name, inspection }: Target,
  nodes: readonly Node[],
  deadline: Deadline,
): Promise<ReadonlyMap<NodeKey, RuleSet>> {
  try {
    return await inspection.getRuleSetsInForce(nodes, deadline);
  } catch (error) {
    if (!(error instanceof PeermasqError)) throw error;
    printErr(`${name}: the text of what nodes have in force is not known: ${formatError(error)}`);
    return new Map();
  }
}

export const isSelected = ({ ref, name }: Node, text: string): boolean =>
  [name, ref.id, nodeKey(ref)].includes(text);

function toTargetError(target: string, reason: unknown): TargetError {
  if (reason instanceof PeermasqError) return { target, error: reason };
  throw reason;
}

/** For documents. */
export const targetErrorDocument = ({ target, error: { code, message, advice } }: TargetError) => ({
  target,
  code,
  message,
  advice,
});

/** For people: what is missing in the answer above. */
export const uncheckedTargetLines = ({ errors }: DryRunResult): string[] =>
  errors.map(({ target }) => `Not looked at: ${target}.`);

/** Tells every fault of a survey, and ends the command as failed where there is one. @returns whether there is */
export function reportErrors({ errors }: DryRunResult, isDebug: boolean | undefined): boolean {
  for (const { target, error } of errors) reportError(error, isDebug === true, target);
  if (errors.length > 0) process.exitCode = exitCodes.error;
  return errors.length > 0;
}

const nodeNotFound = (text: string) =>
  new PermanentError(
    'no-such-node',
    `No node ${JSON.stringify(text)} of the clusters was found`,
    'Give its name, its id or CLOUD:ID as `npx peermasq status --all` prints them.',
  );

const ambiguousNode = (text: string, nodes: readonly NodePlan[]) =>
  new PermanentError(
    'ambiguous-node',
    `${nodes.length} nodes are called ${JSON.stringify(text)}: ${nodes.map(({ node }) => nodeKey(node.ref)).join(', ')}`,
    'Name one of these.',
  );
