import { mergeCidrs, type Cidr } from '../../shared/core/model/cidr';
import { nodeKey } from '../../shared/core/model/node';
import { printRuleSet } from '../../shared/core/model/rule-set';
import {
  describeOrigins,
  diffDestinations,
  diffPlan,
  type DiffLine,
} from '../../shared/core/reconcile/diff-plan';
import { reasonOf, type Outcome } from '../../shared/core/reconcile/outcome';
import { definedOnly, groupBy, type NonEmpty } from '../../shared/core/util/collections';
import { escapeControls } from '../../shared/core/util/shell';
import {
  isPlanned,
  targetErrorDocument,
  uncheckedTargetLines,
  type DryRunResult,
  type NodePlan,
  type PlannedChange,
} from './dry-run';
import { colours, count, type CommandOutput } from './output';

/** @param changes the planned nodes to push to; all other planned nodes are shown as unchanged */
export function formatPlan(result: DryRunResult, changes: readonly PlannedChange[]): CommandOutput {
  const { nodes } = result;
  const unchanged = nodes.filter(isPlanned).filter((one) => !changes.includes(one));
  const sections = [
    ...[...groupBy(changes, changeKey).values()].map(changeSection),
    ...unchangedSections(unchanged),
    ...unplannedSections(nodes),
  ];
  return {
    document: planDocument(result, changes),
    text: [...sections, ...conclusion(result, changes)].join('\n\n'),
  };
}

/** Nodes with the same current rule set and the same planned rule set are shown in one section. */
const changeKey = ({ target, cluster, node, outcome }: PlannedChange): string =>
  [target.name, cluster, node.recorded?.ruleSetId, node.recorded?.isProven, outcome.plan.id].join(' ');

const headline = ({ target, cluster }: NodePlan): string => `${escapeControls(cluster)} (${target.name})`;

function changeSection(group: NonEmpty<PlannedChange>): string {
  const [first] = group;
  const { plan } = first.outcome;
  return [
    colours.bold(`${headline(first)}: ${count(group.length, 'node')} → rule set ${plan.id.slice(0, 12)}`),
    `  ${describeCurrent(first)}`,
    ...diffPlan(plan, first.before).map(formatLine),
    ...plan.warnings.map(({ detail }) => colours.yellow(`  warning: ${escapeControls(detail)}`)),
    `  on ${namesOf(group)}`,
  ].join('\n');
}

function describeCurrent({ node: { recorded }, before, outcome }: PlannedChange): string {
  if (!recorded) return 'no peermasq rules yet';
  if (!outcome.isChange) return 'already proven; pushed again to verify it';
  if (recorded.ruleSetId === outcome.plan.id) return 'already pushed, not proven yet';
  const current = `current rule set: ${recorded.ruleSetId.slice(0, 12)}`;
  return before ? current : `${current} (text no longer available, so every line is shown as new)`;
}

function formatLine({ sign, text, from }: DiffLine): string {
  const colour = { '+': colours.green, '-': colours.red, ' ': colours.dim }[sign];
  const origins = from ? colours.dim(`    ← ${escapeControls(from.join('; '))}`) : '';
  return `  ${colour(`${sign} ${text}`)}${origins}`;
}

function unchangedSections(unchanged: readonly PlannedChange[]): string[] {
  return [...groupBy(unchanged, headline)].map(
    ([head, nodes]) => `${colours.bold(head)}: ${count(nodes.length, 'node')} unchanged, proven`,
  );
}

function unplannedSections(nodes: readonly NodePlan[]): string[] {
  const unplanned = nodes.filter((one) => !isPlanned(one));
  const groups = groupBy(unplanned, (one) => `${headline(one)} ${unplannedReason(one.outcome)}`);
  return [...groups.values()].map((group) => {
    const [first] = group;
    const { outcome } = first;
    return [
      colours.bold(`${headline(first)}: ${count(group.length, 'node')} ${outcome.kind}`),
      `  ${escapeControls(unplannedReason(outcome))}`,
      ...warningsOf(outcome).map(({ detail }) => colours.yellow(`  warning: ${escapeControls(detail)}`)),
      `  ${namesOf(group)}`,
    ].join('\n');
  });
}

const shownNames = 5;

function namesOf(nodes: readonly NodePlan[]): string {
  const names = nodes.slice(0, shownNames).map(({ node }) => escapeControls(node.name));
  const more = nodes.length > shownNames ? ` and ${nodes.length - shownNames} more` : '';
  return `${names.join(', ')}${more}`;
}

const unplannedReason = (outcome: Outcome): string =>
  `${reasonOf(outcome)}${outcome.kind === 'held' ? ' Use --allow-route-loss to plan it anyway.' : ''}`;

function warningsOf(outcome: Outcome) {
  if (outcome.kind === 'skipped') return outcome.skip.warnings;
  return outcome.kind === 'held' ? outcome.warnings : [];
}

function conclusion(result: DryRunResult, changes: readonly PlannedChange[]): string[] {
  const hasReadNothing = result.nodes.length === 0 && result.errors.length > 0;
  return [
    ...(hasReadNothing ? [] : [describeBlastRadius(result.nodes, changes)]),
    ...uncheckedTargetLines(result),
  ];
}

function describeBlastRadius(nodes: readonly NodePlan[], changes: readonly PlannedChange[]): string {
  if (nodes.length === 0) return 'No nodes found in the selected clusters.';
  const rest = unplannedCounts(nodes);
  if (changes.length === 0) return `No changes: ${count(nodes.length, 'node')} checked${rest}.`;
  const clusters = `${countClusters(changes)} of ${count(countClusters(nodes), 'cluster')}`;
  const reach = `change ${changes.length} of ${count(nodes.length, 'node')} in ${clusters}`;
  return `Plan: ${[reach, ...describeEffect(effectOf(changes))].join('; ')}${rest}.`;
}

const countClusters = (nodes: readonly NodePlan[]): number => groupBy(nodes, headline).size;

/** Returns the number of nodes without a plan, such as `; 2 held; 1 skipped`. */
function unplannedCounts(nodes: readonly NodePlan[]): string {
  const byKind = groupBy(
    nodes.filter((one) => !isPlanned(one)),
    ({ outcome }) => outcome.kind,
  );
  return [...byKind].map(([kind, group]) => `; ${group.length} ${kind}`).join('');
}

interface Effect {
  /** The ranges to which pods' packets are masqueraded only after the change. */
  readonly added: readonly string[];
  /** The ranges to which pods' packets are masqueraded only before the change. */
  readonly removed: readonly string[];
  readonly podRangesChange: boolean;
}

function describeEffect({ added, removed, podRangesChange }: Effect): string[] {
  return [
    ...(added.length === 0 ? [] : [`start masquerading to ${added.join(', ')}`]),
    ...(removed.length === 0 ? [] : [`stop masquerading to ${removed.join(', ')}`]),
    ...(podRangesChange ? ['change the pod ranges'] : []),
  ];
}

/** The combined effect of all changes. */
function effectOf(changes: readonly PlannedChange[]): Effect {
  const diffs = changes.map(({ outcome, before }) => diffDestinations(outcome.plan.ruleSet, before));
  return {
    added: mergeRanges(diffs.flatMap(({ added }) => added)),
    removed: mergeRanges(diffs.flatMap(({ removed }) => removed)),
    podRangesChange: diffs.some(({ podRangesChange }) => podRangesChange),
  };
}

const shownRanges = 10;

function mergeRanges(ranges: readonly Cidr[]): string[] {
  const texts = mergeCidrs(ranges).map(({ text }) => text);
  const hidden = texts.length - shownRanges;
  return hidden > 0 ? [...texts.slice(0, shownRanges), `${hidden} more ranges`] : texts;
}

function planDocument({ nodes, errors }: DryRunResult, changes: readonly PlannedChange[]) {
  const plans = new Map(nodes.filter(isPlanned).map(({ outcome: { plan } }) => [plan.id, plan]));
  const ruleSets = [...plans].map(([id, { ruleSet, provenance }]) => {
    const destinations = provenance.map((range) => ({ cidr: range.cidr.text, from: describeOrigins(range) }));
    return [id, { text: printRuleSet(ruleSet), destinations }] as const;
  });
  return {
    changes: changes.length,
    blastRadius: { nodes: nodes.length, ...effectOf(changes) },
    nodes: nodes.map(nodeDocument),
    ruleSets: Object.fromEntries(ruleSets),
    errors: errors.map(targetErrorDocument),
  };
}

function nodeDocument(one: NodePlan) {
  const { target, node, cluster, outcome } = one;
  const common = {
    node: nodeKey(node.ref),
    name: node.name,
    target: target.name,
    cluster,
    inForce: node.recorded?.ruleSetId ?? null,
  };
  if (outcome.kind !== 'planned') {
    const reason = unplannedReason(outcome);
    return { ...common, outcome: outcome.kind, reason, warnings: warningsOf(outcome) };
  }
  const lines = diffPlan(outcome.plan, one.before);
  const withSign = (wanted: DiffLine['sign']) =>
    outcome.isChange ? lines.filter(({ sign }) => sign === wanted).map(({ text }) => text) : undefined;
  return {
    ...common,
    outcome: outcome.isChange ? 'change' : 'unchanged',
    ruleSet: outcome.plan.id,
    ...definedOnly({ added: withSign('+'), removed: withSign('-') }),
    warnings: outcome.plan.warnings,
  };
}
