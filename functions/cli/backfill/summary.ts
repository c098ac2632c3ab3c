import { groupBy } from '../../../shared/core/util/collections';
import { nodeKey } from '../../../shared/core/model/node';
import { reasonOf, type Outcome } from '../../../shared/core/reconcile/outcome';
import { escapeControls } from '../../../shared/core/util/shell';
import { exitCodes } from '../errors';
import { colours, table, type CommandOutput } from '../output';
import type { PlannedChange } from '../plan';
import type { Journal } from './journal';
import type { WaveResult } from './waves';

export function countsOf(outcomes: readonly Outcome[]): string {
  return [...groupBy(outcomes, ({ kind }) => kind)]
    .map(([kind, some]) => `${some.length} ${kind}`)
    .join(', ');
}

export function exitCodeOf(nodes: readonly PlannedChange[], { outcomes }: WaveResult): number {
  const isProven = ({ node }: PlannedChange) => outcomes.get(nodeKey(node.ref))?.kind === 'proven';
  return nodes.every(isProven) ? exitCodes.ok : exitCodes.error;
}

export function summary(
  nodes: readonly PlannedChange[],
  { outcomes, untouched, stopReason }: WaveResult,
  { kind, file }: Journal,
): CommandOutput {
  const all = [...outcomes.values()];
  const unproven = nodes.flatMap(({ node, cluster }) => {
    const outcome = outcomes.get(nodeKey(node.ref));
    return outcome && outcome.kind !== 'proven' ? [{ node, cluster, outcome }] : [];
  });
  const rows = unproven.map(({ node, cluster, outcome }) => [
    escapeControls(node.name),
    nodeKey(node.ref),
    escapeControls(cluster),
    outcome.kind,
    escapeControls(reasonOf(outcome)),
  ]);
  const text = [
    ...(rows.length > 0 ? [table(['NODE', 'ID', 'CLUSTER', 'STATE', 'REASON'], rows), ''] : []),
    nodes.length === 0
      ? 'Nothing was pushed: no node is to get anything else than it has proven.'
      : colours.bold(
          `${kind === 'backfill' ? 'Backfill' : 'Rollback'}: ${countsOf(all) || 'nothing pushed'}, ${untouched.length} untouched.`,
        ),
    ...(stopReason === undefined
      ? []
      : [
          `Stopped, because ${stopReason}. Untouched: ${untouched.map(({ node }) => escapeControls(node.name)).join(', ')}.`,
        ]),
    ...(nodes.length === 0 ? [] : [`What nodes had before is in ${file}`]),
    ...(untouched.length + unproven.length > 0
      ? ['Run it again to go on: nodes that are proven are left alone.']
      : []),
  ].join('\n');
  const document = {
    nodes: nodes.map(({ node, cluster }) => {
      const outcome = outcomes.get(nodeKey(node.ref));
      const who = { node: nodeKey(node.ref), name: node.name, cluster };
      if (!outcome) return { ...who, state: 'untouched' };
      return { ...who, state: outcome.kind, ...(outcome.kind !== 'proven' && { reason: reasonOf(outcome) }) };
    }),
    stopReason: stopReason ?? null,
    journal: nodes.length === 0 ? null : file,
  };
  return { document, text };
}
