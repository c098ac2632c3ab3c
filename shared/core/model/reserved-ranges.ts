import { contains, covers, overlaps, parseCidr, type Address, type Cidr } from './cidr';

/**
 * Ranges that no rule may masquerade to (IANA special-purpose registries, RFC 6890). The node program does not trust
 * its input, so it checks the ranges again. infra/write-reserved.ts generates the node program's list from this list.
 */
export const reserved = (
  [
    ['0.0.0.0/8', 'this host'],
    ['127.0.0.0/8', 'loopback'],
    ['169.254.0.0/16', 'link-local, used by metadata servers'],
    ['224.0.0.0/4', 'multicast'],
    ['240.0.0.0/4', 'reserved and broadcast'],
    ['::/64', 'loopback, and IPv4 in IPv6'],
    ['fe80::/10', 'link-local'],
    ['ff00::/8', 'multicast'],
  ] as const
).map(([text, reason]) => ({ cidr: parseCidr(text), reason }));

/**
 * Returns why the range cannot be a destination, as the end of a sentence that starts with "it". Undefined if it can.
 */
export function reservedReason(cidr: Cidr): string | undefined {
  if (cidr.prefix === 0) return 'contains every address';
  const match = reserved.find((entry) => overlaps(entry.cidr, cidr));
  if (!match) return undefined;
  return `${covers(match.cidr, cidr) ? 'is inside' : 'contains'} ${match.cidr.text} (${match.reason})`;
}

const rfc1918 = ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16'].map(parseCidr);

/** Whether an IPv4 range contains addresses outside the private ranges of RFC 1918. */
export const overlapsNonRfc1918 = (range: Cidr): boolean =>
  range.family === 4 && !rfc1918.some((outer) => covers(outer, range));

/** The internal ranges of RFC 1918, RFC 6598, RFC 2544, RFC 1112 and RFC 4193. */
const internal = [
  '10.0.0.0/8',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '100.64.0.0/10',
  '198.18.0.0/15',
  '240.0.0.0/4',
  'fc00::/7',
].map(parseCidr);

/** Whether the address cannot be on the public internet. */
export const isInternal = (address: Address): boolean => internal.some((range) => contains(range, address));
export const isInternalRange = (range: Cidr): boolean => internal.some((outer) => covers(outer, range));
