import type { Check } from '../../shared/core/doctor/check';
import type { Explanation, Step } from '../../shared/core/explain/explanation';
import { escapeControls } from '../../shared/core/util/shell';
import { exitCodes } from './exit';
import { colours, table, type CommandOutput } from './output';

export interface ExplainResult {
  readonly explanation: Explanation;
  /** The checks of the path after the node; null if that path was not checked. */
  readonly upstream: readonly Check[] | null;
}

const findingCauses: ReadonlySet<string> = new Set(['dropped', 'wrong-backend', 'untracked']);

/** The exit code of explain. A packet that needs no masquerading, or does not leave the node, is not a finding. */
export function exitCodeOf({ masqueraded, mayBeDropped, cause, fix }: Explanation): number {
  if (masqueraded === 'unknown') return exitCodes.unknown;
  if (findingCauses.has(cause) || (!masqueraded && fix !== null)) return exitCodes.finding;
  return mayBeDropped ? exitCodes.unknown : exitCodes.ok;
}

export function formatExplanation(title: string, { explanation, upstream }: ExplainResult): CommandOutput {
  // `redirectedBy` is left out of the document: only doctor uses it.
  const { masqueraded, mayBeDropped, source, sources, destinations } = explanation;
  const { cause, reason, fix, path, omitted } = explanation;
  const document = {
    masqueraded,
    mayBeDropped,
    source,
    sources,
    destinations,
    cause,
    reason,
    fix,
    path,
    omitted,
    upstream,
  };
  const lines = [
    colours.bold(title),
    ...(path.length === 0 ? [] : [pathTable(path), '']),
    ...(omitted === 0 ? [] : [`Not shown: ${omitted} more rules that were evaluated.`, '']),
    verdictColour(explanation)(`Masqueraded: ${formatMasqueraded(explanation)}`),
    `Reason: ${escapeControls(reason)}`,
    sourceLine(explanation),
    ...upstreamLines(upstream),
    ...(fix === null ? [] : [`Fix: ${escapeControls(fix)}`]),
  ];
  return { document, text: lines.join('\n') };
}

function verdictColour(explanation: Explanation) {
  const code = exitCodeOf(explanation);
  if (code === exitCodes.ok) return colours.green;
  return code === exitCodes.finding ? colours.red : colours.yellow;
}

function formatMasqueraded({ masqueraded }: Explanation): string {
  if (masqueraded === 'unknown') return masqueraded;
  return masqueraded ? 'yes' : 'no';
}

function sourceLine({ cause, source, sources }: Explanation): string {
  if (cause === 'dropped' || cause === 'stays-on-node') return 'The packet does not leave the node.';
  const address = source ?? (sources.join(' or ') || 'unknown, the rules do not show it');
  return `Source address: ${address}`;
}

function pathTable(path: readonly Step[]): string {
  const rows = path.flatMap((step) => [
    [
      `${step.table} (${step.backend})`,
      step.chain,
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
