import { findRootCause } from './diagnose/cause';
import { summarizeTrace } from './diagnose/trace';
import type { Explanation, SocketAddress } from './explanation';
import { formatAddress } from './ranges';
import type { Packet } from './simulate/packet';
import type { Snapshot } from './snapshot';
import { egressOf, walk } from './simulate/walk';
import type { EgressVerdict, Evaluation } from './simulate/trace';

/**
 * Follows the first packet of a connection through a node's rules. If the snapshot and the packet do not determine
 * whether a rule matches, both outcomes are followed. The result is `unknown` if the two outcomes lead to different
 * results.
 */
export function explain(snapshot: Snapshot, packet: Packet): Explanation {
  const trace = walk(snapshot, packet);
  const egress = egressOf(trace);
  const sources = sourcesOf(egress, packet);
  const isComplete = egress.every(({ translation }) => translation?.sources.length !== 0);
  const { cause, reason, fix } = findRootCause({ snapshot, packet, trace });
  const { path, omitted } = summarizeTrace(trace.evaluations);
  return {
    masqueraded: isMasqueraded(egress),
    source: isComplete && sources.length === 1 ? (sources[0] ?? null) : null,
    sources,
    destinations: destinationsOf(egress, packet),
    redirectedBy: trace.evaluations.filter(isRedirecting).map(({ rule }) => rule.text),
    mayBeDropped: egress.length > 0 && trace.verdicts.some(({ kind }) => kind === 'dropped'),
    path,
    omitted,
    cause,
    reason,
    fix,
  };
}

function isMasqueraded(egress: readonly EgressVerdict[]): boolean | 'unknown' {
  const translated = egress.filter(({ translation }) => translation !== undefined);
  if (translated.length === 0) return false;
  return translated.length === egress.length || 'unknown';
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

function sourcesOf(egress: readonly EgressVerdict[], { source }: Packet): string[] {
  const addresses = egress.flatMap(({ translation }) => translation?.sources ?? [source.value]);
  return [...new Set(addresses)].map((address) => formatAddress(source.family, address));
}
