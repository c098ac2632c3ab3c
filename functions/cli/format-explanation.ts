import type { Check } from '../../shared/core/doctor/check';
import { isAsWanted, type Explanation, type Step } from '../../shared/core/explain/explanation';
import { escapeControls } from '../../shared/core/util/shell';
import { exitCodes } from './exit';
import { colours, table, type CommandOutput } from './output';

export interface ExplainResult {
  readonly explanation: Explanation;
  /** The checks of the path after the node; null if that path was not checked. */
  readonly upstream: readonly Check[] | null;
  /** What was assumed about the saved rules, and which of their lines were passed over. */
  readonly warnings: readonly string[];
}

/** The exit code of explain. A packet that needs no masquerading, or does not leave the node, is not a finding. */
export function exitCodeOf(explanation: Explanation): number {
  if (explanation.masqueraded === 'unknown') return exitCodes.unknown;
  if (!isAsWanted(explanation)) return exitCodes.finding;
  return explanation.mayBeDropped ? exitCodes.unknown : exitCodes.ok;
}

export function formatExplanation(
  title: string,
  { explanation, upstream, warnings }: ExplainResult,
): CommandOutput {
  // `redirectedBy` is left out of the document: only doctor uses it.
  const { want, masqueraded, masqueradedByTablesShown, notShown, assumedComplete } = explanation;
  const { mayBeDropped, source, sources, hasUnknownSource, destinations } = explanation;
  const { cause, reason, evidence, fix, lastingFix, path, omitted } = explanation;
  const document = {
    want,
    masqueraded,
    masqueradedByTablesShown,
    notShown,
    assumedComplete,
    mayBeDropped,
    source,
    sources,
    hasUnknownSource,
    destinations,
    cause,
    reason,
    evidence,
    fix,
    lastingFix,
    path,
    omitted,
    upstream,
    warnings,
  };
  const lines = [
    colours.bold(title),
    ...(path.length === 0 ? [] : [pathTable(path), '']),
    ...(omitted === 0 ? [] : [`Not shown: ${omitted} more rules that were evaluated.`, '']),
    verdictColour(explanation)(`Masqueraded: ${formatMasqueraded(explanation)}`),
    `Reason: ${escapeControls(reason)}`,
    sourceLine(explanation),
    ...notShownLines(explanation),
    ...evidence.map((line) => `Evidence: ${escapeControls(line)}`),
    ...warnings.map((warning) => `Warning: ${escapeControls(warning)}`),
    ...upstreamLines(upstream),
    ...fixLines(explanation),
  ];
  return { document, text: lines.join('\n') };
}

function verdictColour(explanation: Explanation) {
  const code = exitCodeOf(explanation);
  if (code === exitCodes.ok) return colours.green;
  return code === exitCodes.finding ? colours.red : colours.yellow;
}

function formatMasqueraded(explanation: Explanation): string {
  const { masqueraded, masqueradedByTablesShown: shown, assumedComplete } = explanation;
  if (masqueraded !== 'unknown') {
    const answer = masqueraded ? 'yes' : 'no';
    return assumedComplete ? `${answer}, if the tables shown are all (--assume-complete)` : answer;
  }
  if (shown === 'unknown') return masqueraded;
  return `unknown; ${shown ? '' : 'not '}masqueraded by the tables shown`;
}

/** What to do about parts of the node's state that are not shown. */
export function notShownLines({
  notShown,
  assumedComplete,
}: Pick<Explanation, 'notShown' | 'assumedComplete'>): string[] {
  if (notShown.length === 0) return [];
  const advice = 'Pass the output of `npx peermasq collect` to show everything';
  const alternative = assumedComplete ? '' : ', or use --assume-complete';
  const shown = `Not shown: ${notShown.join('; ')}. That could change the answer.`;
  return [`${shown} ${advice}${alternative}.`];
}

function sourceLine(explanation: Explanation): string {
  const { cause, sources, hasUnknownSource, notShown, assumedComplete } = explanation;
  const isLimited = notShown.length > 0 && !assumedComplete;
  if (cause === 'dropped' || cause === 'stays-on-node')
    return isLimited
      ? 'By the tables shown, the packet does not leave the node.'
      : 'The packet does not leave the node.';
  const subject = isLimited ? 'Source address by the tables shown' : 'Source address';
  if (sources.length === 0) return `${subject}: unknown, the rules do not show it`;
  const unknown = hasUnknownSource ? ['another that the rules do not show'] : [];
  return `${subject}: ${[...sources, ...unknown].join(' or ')}`;
}

/** The command is for one pod and one destination, and lasts until a program or a reboot rewrites the rules. */
function fixLines({ fix, lastingFix }: Explanation): string[] {
  return [
    ...(fix === null ? [] : [`Fix: ${escapeControls(fix)}`]),
    ...(lastingFix === null
      ? []
      : [`Lasting fix (${lastingFix.owner}): ${escapeControls(lastingFix.advice)}`]),
  ];
}

function pathTable(path: readonly Step[]): string {
  const rows = path.flatMap((step) => [
    [
      `${escapeControls(step.table)} (${step.backend})`,
      escapeControls(step.chain),
      String(step.rule),
      formatResult(step.result),
      escapeControls(step.reason),
    ],
    ['', '', '', '', colours.dim(escapeControls(step.text))],
  ]);
  return table(['TABLE', 'CHAIN', 'RULE', 'RESULT', 'WHY'], rows);
}

function formatResult(result: Step['result']): string {
  const colour = { matched: colours.green, 'not-matched': colours.dim, unknown: colours.yellow };
  return colour[result](result.replace('-', ' '));
}

function upstreamLines(upstream: ExplainResult['upstream']): string[] {
  if (upstream === null)
    return ['Routes and firewalls were not checked: use `npx peermasq doctor` for those.'];
  const broken = upstream.find(({ state }) => state === 'broken');
  if (!broken) return [];
  return [`Dropped after the node, at ${broken.name}: ${escapeControls(broken.evidence[0] ?? '')}`];
}
