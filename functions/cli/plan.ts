import type { Command } from 'commander';
import {
  diffPlan,
  describeOrigins,
  diffDestinations,
  type DiffLine,
} from '../../shared/core/reconcile/diff-plan';
import { aggregate, type Cidr } from '../../shared/core/model/cidr';
import { groupBy } from '../../shared/core/util/collections';
import { nodeKey } from '../../shared/core/model/node';
import { reasonOf, type Outcome } from '../../shared/core/reconcile/outcome';
import { printRuleSet } from '../../shared/core/model/rule-set';
import { escapeControls } from '../../shared/core/util/shell';
import { exitCodes } from './errors';
import { colours, count, examples, outputOption, print, type CommandOutput, type Format } from './output';
import {
  targetErrorDocument,
  uncheckedTargetLines,
  dryRun,
  reportErrors,
  type DryRunResult,
  type NodePlan,
} from './dry-run';
import {
  clusterOption,
  deadlineOf,
  openTargets,
  selectionOf,
  withTargetOptions,
  type Target,
  type TargetOptions,
} from './targets';

interface PlanOptions extends TargetOptions {
  readonly node?: string;
  readonly allowRouteLoss?: boolean;
  readonly output: Format;
}

/** `peermasq plan`: what every node would get and why; nothing is pushed. */
export function addPlan(program: Command): void {
  const command = withTargetOptions(
    program
      .command('plan')
      .description('say what every node would get and why; pushes nothing. Exits 2 when there are changes')
      .addOption(clusterOption())
      .option('--node <node>', 'only this node: its name, id or CLOUD:ID')
      .option('--allow-route-loss', 'plan also what takes rules away because far fewer routes were found')
      .addOption(outputOption()),
  ).action(async (_: unknown, self: Command) => {
    const options = self.optsWithGlobals<PlanOptions>();
    const dryRunResult = await runDryRun(options);
    print(formatPlan(dryRunResult), options.output);
    if (reportErrors(dryRunResult, options.debug)) return;
    process.exitCode = changesOf(dryRunResult.nodes).length > 0 ? exitCodes.finding : exitCodes.ok;
  });
  examples(command, [
    'npx peermasq plan',
    'npx peermasq plan --cloud gcp --project identity-nonprod --cluster frontend-cluster',
    'npx peermasq plan --node i-0123456789abcdef0 -o json',
  ]);
}

/** What `plan` shows, and `backfill` before it asks. */
export async function runDryRun(options: Omit<PlanOptions, 'output'>): Promise<DryRunResult> {
  const targets = await openTargets(options);
  const [{ config }] = targets as [Target];
  return dryRun(targets, {
    ...selectionOf(options, config),
    ...(options.node !== undefined && { node: options.node }),
    deadline: deadlineOf(options),
    allowRouteLoss: options.allowRouteLoss === true,
    withBefore: true,
  });
}

/** A node that a push would bring something to. */
export type PlannedChange = NodePlan & { readonly outcome: Extract<Outcome, { kind: 'planned' }> };

const isPlanned = (one: NodePlan): one is PlannedChange => one.outcome.kind === 'planned';

/** The nodes that would get another rule set than the one they have proven; again, those that keep theirs too. */
export const changesOf = (nodes: readonly NodePlan[], force = false): PlannedChange[] =>
  nodes.filter(isPlanned).filter(({ outcome }) => force || outcome.isChange);

export function formatPlan(dryRunResult: DryRunResult, force = false): CommandOutput {
  const changes = changesOf(dryRunResult.nodes, force);
  const sections = [
    ...[...groupBy(changes, changeKey).values()].map(changeSection),
    ...unchangedSection(dryRunResult.nodes.filter(isPlanned).filter((one) => !changes.includes(one))),
    ...unplannedSections(dryRunResult.nodes),
  ];
  return {
    document: toDocument(dryRunResult, changes),
    text: [...sections, ...conclusion(dryRunResult, changes)].join('\n\n'),
  };
}

/** Nodes that go from the same rule set to the same rule set are one change. */
const changeKey = ({ target, cluster, node, outcome }: PlannedChange): string =>
  [target.name, cluster, node.recorded?.ruleSetId, node.recorded?.isProven, outcome.plan.id].join(' ');

function changeSection(group: readonly PlannedChange[]): string {
  const [first] = group as [PlannedChange];
  const { target, cluster, outcome } = first;
  const id = outcome.plan.id.slice(0, 12);
  return [
    colours.bold(
      `${escapeControls(cluster)} (${target.name}): ${count(group.length, 'node')} → rule set ${id}`,
    ),
    `  ${describeCurrent(first)}`,
    ...diffPlan(outcome.plan, first.before).map(formatLine),
    ...outcome.plan.warnings.map(({ detail }) => colours.yellow(`  warning: ${escapeControls(detail)}`)),
    `  on ${namesOf(group)}`,
  ].join('\n');
}

function describeCurrent({ node: { recorded }, before, outcome }: PlannedChange): string {
  if (!recorded) return 'has no rules of peermasq yet';
  const id = recorded.ruleSetId.slice(0, 12);
  if (!outcome.isChange) return 'has proven this rule set, and looks at its rules again';
  if (recorded.ruleSetId === outcome.plan.id) return 'has this rule set, but has not proven it';
  return before
    ? `has rule set ${id}`
    : `has rule set ${id}, whose text is not known any more: all lines are shown as new`;
}

function formatLine({ sign, text, from }: DiffLine): string {
  const colour = { '+': colours.green, '-': colours.red, ' ': colours.dim }[sign];
  return `  ${colour(`${sign} ${text}`)}${from ? colours.dim(`    ← ${escapeControls(from.join('; '))}`) : ''}`;
}

function unchangedSection(same: readonly PlannedChange[]): string[] {
  return [...groupBy(same, ({ target, cluster }) => `${escapeControls(cluster)} (${target.name})`)].map(
    ([where, nodes]) => `${colours.bold(where)}: ${count(nodes.length, 'node')} unchanged, proven`,
  );
}

/** Nodes without a plan, by why. */
function unplannedSections(nodes: readonly NodePlan[]): string[] {
  const others = nodes.filter((one) => !isPlanned(one));
  const groups = groupBy(
    others,
    ({ target, cluster, outcome }) => `${cluster} (${target.name}) ${reason(outcome)}`,
  );
  return [...groups.values()].map((group) => {
    const [{ target, cluster, outcome }] = group as [NodePlan];
    const warnings = warningsOf(outcome).map(({ detail }) => `\n  warning: ${escapeControls(detail)}`);
    const head = `${escapeControls(cluster)} (${target.name}): ${count(group.length, 'node')} ${outcome.kind}`;
    return `${colours.bold(head)}\n  ${escapeControls(reason(outcome))}${colours.yellow(warnings.join(''))}\n  ${namesOf(group)}`;
  });
}

const shownNames = 5;

function namesOf(nodes: readonly NodePlan[]): string {
  const names = nodes.slice(0, shownNames).map(({ node }) => escapeControls(node.name));
  return `${names.join(', ')}${nodes.length > shownNames ? ` and ${nodes.length - shownNames} more` : ''}`;
}

/** Why a node has no plan. */
const reason = (outcome: Outcome): string =>
  `${reasonOf(outcome)}${outcome.kind === 'held' ? ' --allow-route-loss plans it all the same.' : ''}`;

function warningsOf(outcome: Outcome) {
  if (outcome.kind === 'skipped') return outcome.skip.warnings;
  return outcome.kind === 'held' ? outcome.warnings : [];
}

/** With nothing looked at there is nothing to say of changes. */
function conclusion(dryRunResult: DryRunResult, changes: readonly PlannedChange[]): string[] {
  const hasReadNothing = dryRunResult.nodes.length === 0 && dryRunResult.errors.length > 0;
  return [
    ...(hasReadNothing ? [] : [blastRadius(dryRunResult.nodes, changes)]),
    ...uncheckedTargetLines(dryRunResult),
  ];
}

/** How far the changes reach. */
function blastRadius(nodes: readonly NodePlan[], changes: readonly PlannedChange[]): string {
  const clusters = (some: readonly NodePlan[]) =>
    new Set(some.map(({ target, cluster }) => `${target.name} ${cluster}`)).size;
  if (nodes.length === 0) return 'No node of the clusters was found.';
  if (changes.length === 0) return `No changes: ${count(nodes.length, 'node')} looked at${others(nodes)}.`;
  const { begin, end, podRangesChange } = effectOf(changes);
  const list = (label: string, cidrs: readonly string[]) =>
    cidrs.length === 0 ? [] : [`${label} ${cidrs.join(', ')}`];
  const effects = [
    ...list('begins to masquerade to', begin),
    ...list('stops masquerading to', end),
    ...(podRangesChange ? ['for other pods than before'] : []),
  ];
  const reach = `change ${changes.length} of ${count(nodes.length, 'node')}, in ${clusters(changes)} of ${count(clusters(nodes), 'cluster')}`;
  return `Plan: ${reach}${effects.map((effect) => `; ${effect}`).join('')}${others(nodes)}.`;
}

const shownRanges = 10;

/** Which addresses pods begin, or cease, to be masqueraded to: of all changes together. */
function effectOf(changes: readonly PlannedChange[]): {
  begin: string[];
  end: string[];
  podRangesChange: boolean;
} {
  const reaches = changes.map(({ outcome, before }) => diffDestinations(outcome.plan.ruleSet, before));
  const merged = (ranges: readonly Cidr[]) => {
    const texts = aggregate(ranges.map((cidr) => ({ cidr }))).map(({ cidr }) => cidr.text);
    const rest = texts.length - shownRanges;
    return rest > 0 ? [...texts.slice(0, shownRanges), `${rest} more ranges`] : texts;
  };
  return {
    begin: merged(reaches.flatMap(({ begin }) => begin)),
    end: merged(reaches.flatMap(({ end }) => end)),
    podRangesChange: reaches.some(({ podRangesChange }) => podRangesChange),
  };
}

/** Nodes without a plan, which no change counts. */
function others(nodes: readonly NodePlan[]): string {
  const rest = groupBy(
    nodes.filter((one) => !isPlanned(one)),
    ({ outcome }) => outcome.kind,
  );
  return [...rest].map(([kind, some]) => `; ${some.length} ${kind}`).join('');
}

function toDocument({ nodes, errors }: DryRunResult, changes: readonly PlannedChange[]) {
  const plans = new Map(nodes.filter(isPlanned).map(({ outcome: { plan } }) => [plan.id, plan]));
  return {
    changes: changes.length,
    blastRadius: { nodes: nodes.length, ...effectOf(changes) },
    nodes: nodes.map(nodeDocument),
    ruleSets: Object.fromEntries(
      [...plans].map(([id, plan]) => [
        id,
        {
          text: printRuleSet(plan.ruleSet),
          destinations: plan.provenance.map((range) => ({
            cidr: range.cidr.text,
            from: describeOrigins(range),
          })),
        },
      ]),
    ),
    errors: errors.map(targetErrorDocument),
  };
}

function nodeDocument(one: NodePlan) {
  const { target, node, cluster, outcome } = one;
  const who = { node: nodeKey(node.ref), name: node.name, target: target.name, cluster };
  const inForce = node.recorded?.ruleSetId ?? null;
  if (outcome.kind !== 'planned')
    return { ...who, outcome: outcome.kind, inForce, reason: reason(outcome), warnings: warningsOf(outcome) };
  const lines = diffPlan(outcome.plan, one.before);
  const of = (sign: DiffLine['sign']) => lines.filter((line) => line.sign === sign).map(({ text }) => text);
  return {
    ...who,
    outcome: outcome.isChange ? 'change' : 'unchanged',
    inForce,
    ruleSet: outcome.plan.id,
    ...(outcome.isChange && { added: of('+'), removed: of('-') }),
    warnings: outcome.plan.warnings,
  };
}
