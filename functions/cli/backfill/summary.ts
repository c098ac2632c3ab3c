import { nodeKey } from '../../../shared/core/model/node';
import { reasonOf, type Outcome } from '../../../shared/core/reconcile/outcome';
import { definedOnly, groupBy } from '../../../shared/core/util/collections';
import { escapeControls } from '../../../shared/core/util/shell';
import type { PlannedChange } from '../dry-run';
import { exitCodes } from '../exit';
import { colours, table, type CommandOutput } from '../output';
import type { Journal, JournalEntry } from './journal';
import type { WaveResult } from './waves';

/** Returns the number of outcomes of each kind, such as `3 proven, 1 failed`. */
export function countOutcomes(outcomes: readonly Outcome[]): string {
  const byKind = groupBy(outcomes, ({ kind }) => kind);
  return [...byKind].map(([kind, group]) => `${group.length} ${kind}`).join(', ');
}

export function exitCodeOf(nodes: readonly PlannedChange[], { outcomes }: WaveResult): number {
  const isProven = ({ node }: PlannedChange) => outcomes.get(nodeKey(node.ref))?.kind === 'proven';
  return nodes.every(isProven) ? exitCodes.ok : exitCodes.error;
}

export function summarize(
  nodes: readonly PlannedChange[],
  result: WaveResult,
  journal: Journal,
): CommandOutput {
  const { outcomes, stopReason = null } = result;
  const document = {
    nodes: nodes.map(({ node, cluster }) => {
      const outcome = outcomes.get(nodeKey(node.ref));
      const reason = outcome && outcome.kind !== 'proven' ? reasonOf(outcome) : undefined;
      const state = outcome?.kind ?? 'untouched';
      return { node: nodeKey(node.ref), name: node.name, cluster, state, ...definedOnly({ reason }) };
    }),
    stopReason,
    journal: journal.file,
  };
  return { document, text: summaryLines(nodes, result, journal).join('\n') };
}

function summaryLines(
  nodes: readonly PlannedChange[],
  { outcomes, untouched, stopReason }: WaveResult,
  { kind, file }: Journal,
): string[] {
  const unproven = unprovenRows(nodes, outcomes);
  const title = kind === 'backfill' ? 'Backfill' : 'Rollback';
  const counts = [countOutcomes([...outcomes.values()]), `${untouched.length} untouched`].filter(Boolean);
  const names = untouched.map(({ node }) => escapeControls(node.name)).join(', ');
  return [
    ...(unproven.length > 0 ? [table(['NODE', 'ID', 'CLUSTER', 'STATE', 'REASON'], unproven), ''] : []),
    colours.bold(`${title}: ${counts.join(', ')}.`),
    ...(stopReason === undefined ? [] : [`Stopped: ${stopReason}. Untouched: ${names}.`]),
    `Previous rule sets are saved in ${file}`,
    ...(untouched.length + unproven.length > 0
      ? ['Run the command again to resume. Nodes that are proven are skipped.']
      : []),
  ];
}

function unprovenRows(nodes: readonly PlannedChange[], outcomes: WaveResult['outcomes']): string[][] {
  return nodes.flatMap(({ node, cluster }) => {
    const outcome = outcomes.get(nodeKey(node.ref));
    if (!outcome || outcome.kind === 'proven') return [];
    const columns = [node.name, nodeKey(node.ref), cluster, outcome.kind, reasonOf(outcome)];
    return [columns.map(escapeControls)];
  });
}

/** Describes what is known about the nodes when a backfill is killed during a wave. */
export function interruptReport({ entries, file }: Journal): string {
  const line = (label: string, state: JournalEntry['state']) => {
    const names = [...entries.values()].filter((entry) => entry.state === state).map(({ name }) => name);
    return names.length === 0 ? [] : [`${label}: ${names.join(', ')}.`];
  };
  return [
    ...line('Result unknown (old or new rules, never a mix)', 'pushing'),
    ...line('Proven', 'proven'),
    ...line('Failed', 'failed'),
    ...line('Untouched', 'untouched'),
    `Previous rule sets are saved in ${file}. Run \`npx peermasq status\` to see the current state.`,
  ].join('\n');
}
