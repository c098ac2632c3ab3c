import type { Family } from '../model';
import { parseIpAddress } from '../ranges';

/** A connection that conntrack tracks, with its addresses before and after translation. */
export interface TrackedFlow {
  readonly family: Family;
  readonly protocol: string;
  readonly source: bigint;
  readonly destination: bigint;
  readonly destinationPort: number | undefined;
  /** The address to which replies are sent. Without translation it equals `source`. */
  readonly replyDestination: bigint;
  readonly hasReplies: boolean;
}

/** The maximum number of flows that are read. A node may track hundreds of thousands. */
export const maxFlows = 1_000;

const flowLine =
  /^(?:ipv[46] +\d+ +)?(?:tcp|udp|icmp|icmpv6|sctp|dccp|udplite|gre|unknown) +\d+ +\d+ .*\bsrc=\S+ dst=\S+ .*\bsrc=\S+ dst=\S+/;

/** Whether the text is a line of `conntrack -L`, or of /proc/net/nf_conntrack. */
export const isFlowLine = (text: string): boolean => flowLine.test(text);

/**
 * Parses a line such as `tcp 6 86397 ESTABLISHED src=… dst=… sport=… dport=… [UNREPLIED] src=… dst=… …`. The first
 * addresses are those of the first packet, and the second those of the replies.
 * @returns undefined if an address is missing or invalid
 */
export function parseFlow(text: string): TrackedFlow | undefined {
  const valuesOf = (key: string) =>
    [...text.matchAll(new RegExp(`\\b${key}=(\\S+)`, 'g'))].map(([, value = '']) => value);
  const [source, destination, replyDestination] = [
    valuesOf('src')[0],
    valuesOf('dst')[0],
    valuesOf('dst')[1],
  ].map((address) => parseIpAddress(address ?? ''));
  if (!source || !destination || !replyDestination) return undefined;
  const [port] = valuesOf('dport');
  return {
    family: source.family,
    protocol: /^(?:ipv[46] +\d+ +)?(\S+)/.exec(text)?.[1] ?? '',
    source: source.address,
    destination: destination.address,
    destinationPort: port === undefined ? undefined : Number(port),
    replyDestination: replyDestination.address,
    hasReplies: !text.includes('[UNREPLIED]'),
  };
}
