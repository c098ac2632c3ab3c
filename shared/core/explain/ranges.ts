import { Address4, Address6 } from 'ip-address';
import type { Family, Range } from './model';

/** A mask with every bit of a packet mark or connection mark. */
export const fullMask = 0xffffffff;

export const addressBits = (family: Family) => (family === 4 ? 32 : 128);

/** Parses dotted quads, the most common addresses in a dump, faster than `ip-address` does. */
function parseIpv4(text: string): bigint | undefined {
  const parts = text.split('.');
  if (parts.length !== 4) return undefined;
  let value = 0;
  for (const part of parts) {
    const byte = /^\d{1,3}$/.test(part) ? Number(part) : 256;
    if (byte > 255) return undefined;
    value = value * 256 + byte;
  }
  return BigInt(value);
}

/** @returns undefined if `text` is not an address */
export function parseIpAddress(text: string): { family: Family; address: bigint } | undefined {
  if (!text.includes(':')) {
    const address = parseIpv4(text);
    return address === undefined ? undefined : { family: 4, address };
  }
  if (text.length > 45 || !Address6.isValid(text) || /[%/]/.test(text)) return undefined;
  return { family: 6, address: new Address6(text).bigInt() };
}

export function formatAddress(family: Family, address: bigint): string {
  return (family === 4 ? Address4.fromBigInt(address) : Address6.fromBigInt(address)).correctForm();
}

/** Returns the range of addresses that share the first `prefix` bits of `address`. */
export function prefixRange(family: Family, address: bigint, prefix: number): Range {
  const hostBits = BigInt(addressBits(family) - prefix);
  const first = (address >> hostBits) << hostBits;
  return { first, last: first + (1n << hostBits) - 1n };
}

/**
 * Parses `10.0.0.0/8`, `10.0.0.0/255.0.0.0`, `10.0.0.1` and `10.0.0.1-10.0.0.9`.
 * @returns undefined for anything else, including a non-contiguous mask
 */
export function parseRange(text: string): { family: Family; range: Range } | undefined {
  const [from = '', to, ...more] = text.split('-');
  if (to !== undefined) {
    const first = parseIpAddress(from);
    const last = parseIpAddress(to);
    if (more.length > 0 || !first || first.family !== last?.family || first.address > last.address)
      return undefined;
    return { family: first.family, range: { first: first.address, last: last.address } };
  }
  const [address = '', mask, ...rest] = text.split('/');
  const parsed = parseIpAddress(address);
  const prefix = parsed && parsePrefixLength(parsed.family, mask);
  if (!parsed || prefix === undefined || rest.length > 0) return undefined;
  return { family: parsed.family, range: prefixRange(parsed.family, parsed.address, prefix) };
}

function parsePrefixLength(family: Family, text: string | undefined): number | undefined {
  const bits = addressBits(family);
  if (text === undefined) return bits;
  if (/^\d{1,3}$/.test(text)) return Number(text) <= bits ? Number(text) : undefined;
  const mask = parseIpAddress(text);
  if (mask?.family !== family) return undefined;
  const binary = mask.address.toString(2).padStart(bits, '0');
  return /^1*0*$/.test(binary) ? binary.lastIndexOf('1') + 1 : undefined;
}

/** `10.0.0.0/8`, `10.0.0.1` or `10.0.0.1-10.0.0.9`. */
export function formatRange(family: Family, { first, last }: Range): string {
  const start = formatAddress(family, first);
  if (first === last) return start;
  const prefix = addressBits(family) - (first ^ last).toString(2).length;
  return prefixRange(family, first, prefix).first === first &&
    prefixRange(family, first, prefix).last === last
    ? `${start}/${prefix}`
    : `${start}-${formatAddress(family, last)}`;
}

export const singleRange = <T extends bigint | number>(value: T): Range<T> => ({ first: value, last: value });

export const contains = <T extends bigint | number>(ranges: readonly Range<T>[], value: T): boolean =>
  ranges.some(({ first, last }) => first <= value && value <= last);

/** Parses `80`, `80:90` and `80:`, and also `80-90`, which NAT targets use. */
export function parsePortRange(text: string): Range<number> | undefined {
  const match = /^(\d{0,5})(?:([:-])(\d{0,5}))?$/.exec(text);
  if (!match || text === '') return undefined;
  const [, from = '', separator, to = ''] = match;
  const first = Number(from);
  const last = separator === undefined ? first : Number(to === '' ? 65535 : to);
  return first <= last && last <= 65535 ? { first, last } : undefined;
}

/** IP protocol numbers, by the names that iptables, nft and ipset print. */
const protocolNumbers: Readonly<Record<string, number>> = {
  icmp: 1,
  igmp: 2,
  ipip: 4,
  ipencap: 4,
  tcp: 6,
  udp: 17,
  dccp: 33,
  gre: 47,
  esp: 50,
  ah: 51,
  icmpv6: 58,
  'ipv6-icmp': 58,
  icmp6: 58,
  ospf: 89,
  vrrp: 112,
  sctp: 132,
  udplite: 136,
};

export function protocolNumber(name: string): number | undefined {
  if (/^\d{1,3}$/.test(name)) return Number(name);
  return Object.hasOwn(protocolNumbers, name) ? protocolNumbers[name] : undefined;
}
