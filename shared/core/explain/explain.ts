import { findRootCause } from './diagnose/cause';
import { describeMissing } from './diagnose/not-shown';
import { gatherEvidence } from './diagnose/evidence';
import { findFix, findFixWithoutPeermasq, type FixRequest } from './diagnose/fix';
import { findLastingFix } from './diagnose/owner';
import type { TracedPacket } from './diagnose/root-cause';
import { summarizeTrace } from './diagnose/trace';
import { isAsWanted, type Cause, type Explanation, type SocketAddress, type Want } from './explanation';
import { isSameOutcome, outcomeOf, possibleOutcome } from './outcome';
import { formatAddress } from './ranges';
import type { Packet } from './simulate/packet';
import { missingFor, type Snapshot } from './snapshot';
import { egressOf, walk } from './simulate/walk';
import type { EgressVerdict, Evaluation } from './simulate/trace';

export interface ExplainOptions {
  /** What the packet's source should be. The fix makes it so. */
  readonly want?: Want;
  /** Answers as if the node had no other rules than those in the dump. */
  readonly assumeComplete?: boolean;
}

/**
 * Follows the first packet of a connection through a node's rules. If the snapshot and the packet do not determine
 * whether a rule matches, both outcomes are followed. The result is `unknown` if the two outcomes lead to different
 * results. It is also `unknown` if rules that the dump does not show could change it.
 */
export function explain(
  snapshot: Snapshot,
  packet: Packet,
  { want = 'masqueraded', assumeComplete = false }: ExplainOptions = {},
): Explanation {
  const trace = walk(snapshot, packet);
  const shown = outcomeOf(trace, packet);
  const possible = possibleOutcome(snapshot, packet, trace);
  const isAffected = !isSameOutcome(shown, possible);
  const { masqueraded, source, mayBeDropped } = assumeComplete ? shown : possible;
  const missing = missingFor(snapshot, packet.destination.family);
  const traced = { snapshot, packet, trace };
  const rootCause = findRootCause(traced);
  const { cause, reason } = rootCause;
  const { path, omitted } = summarizeTrace(trace.evaluations);
  const isWrong = !isAsWanted({ want, masqueraded: shown.masqueraded, cause });
  const needsFix = isWrong && (cause === 'dropped' || isNatShown(traced));
  return {
    want,
    masqueraded,
    masqueradedByTablesShown: shown.masqueraded,
    notShown: isAffected ? describeMissing(missing) : [],
    assumedComplete: isAffected && assumeComplete,
    source,
    sources: shown.sources,
    hasUnknownSource: shown.hasUnknownSource,
    destinations: destinationsOf(egressOf(trace), packet),
    redirectedBy: trace.evaluations.filter(isRedirecting).map(({ rule }) => rule.text),
    mayBeDropped,
    path,
    omitted,
    cause,
    reason,
    evidence: gatherEvidence(traced, rootCause),
    fix: needsFix ? (fixFor({ snapshot, packet, want }, cause) ?? null) : null,
    lastingFix: needsFix ? findLastingFix(traced, rootCause, want) : null,
  };
}

const fixFor = (request: FixRequest, cause: Cause): string | undefined =>
  cause === 'wrong-backend' && request.want === 'masqueraded'
    ? findFixWithoutPeermasq(request)
    : findFix(request);

/** Whether the dump shows the nat rules of a backend, so that a fix is more than a guess. */
function isNatShown({ snapshot, packet, trace }: TracedPacket): boolean {
  const { family } = packet.destination;
  if (trace.evaluations.some(({ baseChain }) => baseChain.unreadable !== undefined)) return false;
  const hasChain = snapshot.baseChains.some(
    ({ table, isNat, hook }) => isNat && hook === 'postrouting' && table.families.includes(family),
  );
  if (hasChain || snapshot.backends.has('nft')) return true;
  return !snapshot.missing.some(
    (part) => part.kind === 'tables' && part.family === family && (part.names?.includes('nat') ?? true),
  );
}

const isRedirecting = ({ rule, matched }: Evaluation) =>
  matched !== false && rule.targets.some(({ kind }) => kind === 'dnat' || kind === 'rewrite');

function destinationsOf(
  egress: readonly EgressVerdict[],
  { destination: { family } }: Packet,
): SocketAddress[] {
  const socketAddresses = egress.map(({ destination, destinationPort }) => ({
    address: destination === undefined ? null : formatAddress(family, destination),
    port: destinationPort ?? null,
  }));
  return [...new Map(socketAddresses.map((one) => [JSON.stringify(one), one])).values()];
}
