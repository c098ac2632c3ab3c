import { formatAddress } from './address';
import { findRootCause } from './diagnose/cause';
import { masqueradeCommand } from './diagnose/fix';
import type { Snapshot } from './model';
import type { Explanation, Packet, SocketAddress } from './simulate/packet';
import { summarizeTrace } from './diagnose/trace';
import { walk, type Verdict, type Evaluation } from './simulate/walk';

/**
 * Follows the first packet of a connection through the rules of a node. What the dump or the packet does not
 * tell is not guessed: both outcomes are followed, and the answer is `unknown` where they differ.
 */
export function explain(snapshot: Snapshot, packet: Packet): Explanation {
  const trace = walk(snapshot, packet);
  const egress = trace.verdicts.filter((verdict) => verdict.kind === 'egress');
  const translated = egress.filter(({ translation }) => translation !== undefined);
  const { cause, reason, backend, fix = null } = findRootCause(snapshot, packet, trace);
  const sources = sourcesOf(egress, packet);
  const isComplete = egress.every(({ translation }) => translation?.sources.length !== 0);
  return {
    masqueraded:
      translated.length === egress.length ? egress.length > 0 : translated.length > 0 ? 'unknown' : false,
    source: isComplete && sources.length === 1 ? (sources[0] ?? null) : null,
    sources,
    destinations: destinationsOf(egress, packet),
    redirectedBy: trace.evaluations.filter(isRedirecting).map(({ rule }) => rule.text),
    mayBeDropped: egress.length > 0 && trace.verdicts.some(({ kind }) => kind === 'dropped'),
    ...summarizeTrace(trace.evaluations),
    cause,
    reason,
    fix: backend ? masqueradeCommand(snapshot, packet, backend) : fix,
  };
}

type EgressVerdicts = readonly Extract<Verdict, { kind: 'egress' }>[];

const isRedirecting = ({ rule, matched }: Evaluation) =>
  matched !== false && rule.targets.some(({ kind }) => kind === 'dnat' || kind === 'rewrite');

function destinationsOf(egress: EgressVerdicts, { destination: { family } }: Packet): SocketAddress[] {
  const socketAddresses = egress.map(({ destination, destinationPort }) => ({
    address: destination === undefined ? null : formatAddress(family, destination),
    port: destinationPort ?? null,
  }));
  return [
    ...new Map(
      socketAddresses.map((socketAddress) => [JSON.stringify(socketAddress), socketAddress]),
    ).values(),
  ];
}

function sourcesOf(egress: EgressVerdicts, { source }: Packet): string[] {
  const addresses = egress.flatMap(({ translation }) => translation?.sources ?? [source.first]);
  return [...new Set(addresses)].map((address) => formatAddress(source.family, address));
}
