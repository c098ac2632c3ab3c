import type { Explanation } from './explanation';
import { formatAddress } from './ranges';
import { withMissingRules } from './simulate/missing';
import type { Packet } from './simulate/packet';
import type { EgressVerdict, Trace } from './simulate/trace';
import { egressOf, walk } from './simulate/walk';
import { missingFor, type MissingPart, type Snapshot } from './snapshot';

/** The fields of an explanation that depend on all rules of the node. */
export interface Outcome extends Pick<
  Explanation,
  'masqueraded' | 'source' | 'sources' | 'hasUnknownSource' | 'mayBeDropped'
> {
  readonly leavesNode: boolean;
}

export function outcomeOf(trace: Trace, packet: Packet): Outcome {
  const egress = egressOf(trace);
  const sources = sourcesOf(egress, packet);
  const hasUnknownSource = egress.some(({ translation }) => translation?.sources.length === 0);
  const leavesNode = egress.length > 0;
  return {
    leavesNode,
    masqueraded: staysOrIsDropped(trace) ? 'unknown' : isMasqueraded(egress),
    source: !hasUnknownSource && sources.length === 1 ? (sources[0] ?? null) : null,
    sources,
    hasUnknownSource,
    mayBeDropped: (leavesNode || staysOnNode(trace)) && trace.verdicts.some(({ kind }) => kind === 'dropped'),
  };
}

/**
 * Returns the outcome if the parts that the dump does not show may contain anything.
 * @param trace the packet's way through the rules shown
 */
export function possibleOutcome(snapshot: Snapshot, packet: Packet, trace: Trace): Outcome {
  const shown = outcomeOf(trace, packet);
  const missing = missingFor(snapshot, packet.destination.family);
  if (missing.length === 0) return shown;
  if (isUndetermined(missing, trace))
    return { ...shown, masqueraded: 'unknown', source: null, mayBeDropped: true };
  const everyTrace = walk(withMissingRules(snapshot, packet.destination.family), packet);
  const possible = outcomeOf(everyTrace, packet);
  const isMissing = (wanted: MissingPart['kind']) => missing.some(({ kind }) => kind === wanted);
  // Any destination may be an address of the node, and there may be no route to it.
  const isOtherAddressPossible = isMissing('addresses') && shown.leavesNode && !packet.isFromNode;
  const mayStay = isOtherAddressPossible || (staysOnNode(everyTrace) && !staysOnNode(trace));
  const mayBeDropped = possible.mayBeDropped || (isMissing('routes') && shown.leavesNode);
  if (possible.leavesNode === shown.leavesNode && !mayStay) return { ...possible, mayBeDropped };
  return { ...possible, mayBeDropped, masqueraded: 'unknown', source: null };
}

const staysOnNode = ({ verdicts }: Trace): boolean => verdicts.some(({ kind }) => kind === 'local');

/** Whether the packet does not leave the node, but it is unknown whether the node receives or drops it. */
export const staysOrIsDropped = (trace: Trace): boolean =>
  egressOf(trace).length === 0 && new Set(trace.verdicts.map(({ kind }) => kind)).size > 1;

/**
 * Whether missing rules may masquerade the packet, and may also untrack it, so that no rule masquerades it. Then the
 * outcome is unknown without a walk.
 */
function isUndetermined(missing: readonly MissingPart[], trace: Trace): boolean {
  const isTableMissing = (name: string) =>
    missing.some((part) => part.kind === 'tables' && (part.names?.includes(name) ?? true));
  return egressOf(trace).some(({ isTracked }) => isTracked) && isTableMissing('nat') && isTableMissing('raw');
}

export const isSameOutcome = (a: Outcome, b: Outcome): boolean =>
  a.leavesNode === b.leavesNode &&
  a.masqueraded === b.masqueraded &&
  a.source === b.source &&
  a.mayBeDropped === b.mayBeDropped;

function isMasqueraded(egress: readonly EgressVerdict[]): boolean | 'unknown' {
  const translated = egress.filter(({ translation }) => translation !== undefined);
  if (translated.length === 0) return false;
  return translated.length === egress.length || 'unknown';
}

function sourcesOf(egress: readonly EgressVerdict[], { source }: Packet): string[] {
  const addresses = egress.flatMap(({ translation }) => translation?.sources ?? [source.value]);
  return [...new Set(addresses)].map((address) => formatAddress(source.family, address));
}
