import type { Deadline } from '../../shared/core/cloud';
import { clusterConfig, type Config } from '../../shared/core/model/config';
import { formatError, PeermasqError, PermanentError } from '../../shared/core/model/errors';
import { nodeKey, type Node, type NodeKey } from '../../shared/core/model/node';
import type { RuleSet } from '../../shared/core/model/rule-set';
import type { Outcome } from '../../shared/core/reconcile/outcome';
import { reconcile } from '../../shared/core/reconcile/reconcile';
import { definedOnly, type NonEmpty } from '../../shared/core/util/collections';
import { exitCodes, reportError } from './exit';
import { openTargets } from './open-targets';
import { printErr, withProgress } from './output';
import type { Target, TargetOptions } from './targets';

/** A node, and the changes that a push would make on it. */
export interface NodePlan {
  readonly target: Target;
  readonly node: Node;
  readonly cluster: string;
  readonly outcome: Outcome;
  /** The rule set in force, if the cloud still has its text. */
  readonly before?: RuleSet;
}

export type PlannedChange = NodePlan & { readonly outcome: Extract<Outcome, { kind: 'planned' }> };

export const isPlanned = <N extends NodePlan>(one: N): one is N & PlannedChange =>
  one.outcome.kind === 'planned';

/** Returns the nodes whose planned rule set differs from the rule set that they have proven. */
export const changesOf = (nodes: readonly NodePlan[]): PlannedChange[] =>
  nodes.filter(isPlanned).filter(({ outcome }) => outcome.isChange);

export const isProven = ({ outcome }: NodePlan): boolean => outcome.kind === 'planned' && !outcome.isChange;

export interface DryRunResult {
  readonly nodes: readonly NodePlan[];
  /** The error of each target that could not be checked. */
  readonly errors: readonly TargetError[];
}

export interface TargetError {
  readonly target: string;
  readonly error: PeermasqError;
}

export interface DryRunOptions {
  readonly clusters: readonly string[];
  /** The name, ID or key (`gcp:1234…`) of the only node to plan. */
  readonly node?: string;
  readonly deadline: Deadline;
  readonly allowRouteLoss?: boolean;
  /** Whether to read the rule sets in force, too. */
  readonly withBefore?: boolean;
}

export interface DryRunCommandOptions extends TargetOptions, Pick<DryRunOptions, 'withBefore'> {
  readonly node?: string;
  readonly allowRouteLoss?: boolean;
}

export const deadlineOf = ({ timeout }: TargetOptions): Deadline => Date.now() + timeout * 1_000;

/** Dry-runs the nodes that the command's options select. */
export async function dryRunFor(
  options: DryRunCommandOptions,
  openedTargets?: NonEmpty<Target>,
): Promise<DryRunResult> {
  const targets = openedTargets ?? (await openTargets(options));
  const { node, allowRouteLoss, withBefore } = options;
  return dryRun(targets, {
    clusters: selectClusters(options, targets[0].config),
    deadline: deadlineOf(options),
    ...definedOnly({ node, allowRouteLoss, withBefore }),
  });
}

/** @throws PermanentError for a cluster that is not in the config */
function selectClusters({ cluster }: TargetOptions, config: Config): readonly string[] {
  const known = config.clusters.map(({ name }) => name);
  const unknown = cluster?.find((name) => !clusterConfig(config, name));
  if (unknown === undefined) return cluster ?? known;
  throw new PermanentError('bad-option', `Cluster ${JSON.stringify(unknown)} is not in the config`, {
    advice: `Use one of: ${known.join(', ')}.`,
  });
}

/**
 * Plans every node of the clusters without pushing.
 * @throws PermanentError when `node` matches no node, or several
 */
export async function dryRun(targets: readonly Target[], options: DryRunOptions): Promise<DryRunResult> {
  const names = targets.map(({ name }) => name).join(', ');
  const results = await withProgress(
    `Checking nodes in ${names}`,
    Promise.allSettled(targets.map((target) => dryRunTarget(target, options))),
  );
  const errors = results.flatMap((result, index) =>
    result.status === 'rejected' ? [toTargetError(targets[index]?.name ?? '', result.reason)] : [],
  );
  const nodes = results.flatMap((result) => (result.status === 'fulfilled' ? result.value : []));
  // If a target could not be checked, the node may exist there.
  if (options.node !== undefined && nodes.length === 0 && errors.length === 0)
    throw nodeNotFound(options.node);
  if (options.node !== undefined && nodes.length > 1) throw ambiguousNode(options.node, nodes);
  return { nodes, errors };
}

async function dryRunTarget(
  target: Target,
  { clusters, node: selector, deadline, allowRouteLoss = false, withBefore = false }: DryRunOptions,
): Promise<NodePlan[]> {
  const { nodes, outcomes } = await reconcile({ clusters }, target, {
    deadline,
    isDryRun: true,
    allowRouteLoss,
  });
  const byKey = new Map(outcomes.map((outcome) => [nodeKey(outcome.node), outcome]));
  const selected = nodes.filter((node) => selector === undefined || matchesSelector(node, selector));
  const inForce = withBefore ? await readRuleSetsInForce(target, selected, deadline) : undefined;
  return selected.flatMap((node) => {
    const outcome = byKey.get(nodeKey(node.ref));
    if (!outcome) return [];
    const cluster = outcome.cluster ?? (node.clusters.join(', ') || 'none');
    return [{ target, node, cluster, outcome, ...definedOnly({ before: inForce?.get(nodeKey(node.ref)) }) }];
  });
}

/**
 * Reads the rule sets in force. Reading needs a permission that planning does not need, so an error is reported only as
 * a warning.
 */
async function readRuleSetsInForce(
  { name, inspection }: Target,
  nodes: readonly Node[],
  deadline: Deadline,
): Promise<ReadonlyMap<NodeKey, RuleSet>> {
  try {
    return await inspection.getRuleSetsInForce(nodes, deadline);
  } catch (error) {
    if (!(error instanceof PeermasqError)) throw error;
    printErr(
      `${name}: cannot read the rule sets in force, so every line is shown as new: ${formatError(error)}`,
    );
    return new Map();
  }
}

const matchesSelector = ({ ref, name }: Node, selector: string): boolean =>
  [name, ref.id, nodeKey(ref)].includes(selector);

function toTargetError(target: string, reason: unknown): TargetError {
  if (reason instanceof PeermasqError) return { target, error: reason };
  throw reason;
}

export const targetErrorDocument = ({ target, error: { code, message, advice } }: TargetError) => ({
  target,
  code,
  message,
  advice,
});

export const uncheckedTargetLines = ({ errors }: DryRunResult): string[] =>
  errors.map(({ target }) => `Not checked: ${target}.`);

/**
 * Prints the errors of a dry run and sets the exit code.
 * @returns whether there were any errors
 */
export function reportErrors(
  { errors }: DryRunResult,
  { debug = false }: Pick<TargetOptions, 'debug'>,
): boolean {
  for (const { target, error } of errors) reportError(error, { debug, target });
  if (errors.length > 0) process.exitCode = exitCodes.error;
  return errors.length > 0;
}

const nodeNotFound = (selector: string) =>
  new PermanentError('no-such-node', `Node ${JSON.stringify(selector)} not found in the selected clusters`, {
    advice: 'Use its name, ID or CLOUD:ID as printed by `npx peermasq status --all`.',
  });

const ambiguousNode = (selector: string, nodes: readonly NodePlan[]) =>
  new PermanentError(
    'ambiguous-node',
    `${JSON.stringify(selector)} matches ${nodes.length} nodes: ${nodes.map(({ node }) => nodeKey(node.ref)).join(', ')}`,
    { advice: 'Use one of these keys.' },
  );
