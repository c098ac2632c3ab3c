import { Address4, Address6 } from 'ip-address';
import { tryParse } from '../util/functional';

type Family = 4 | 6;

/** An IP range in canonical form: without host bits, and in the notation of RFC 5952 for IPv6. */
export interface Cidr {
  readonly family: Family;
  /** The network address. */
  readonly first: bigint;
  readonly prefix: number;
  /** `10.0.0.0/8`, `fd00::/8` */
  readonly text: string;
}

/** A single address. It has no prefix length, because a single address is not a range. */
export interface Address {
  readonly family: Family;
  readonly value: bigint;
  /** The address in canonical form, such as `10.0.0.1` or `fd00::1`. */
  readonly text: string;
}

export class CidrError extends Error {
  override readonly name = 'CidrError';
}

const widths = { 4: 32, 6: 128 } as const;

const formatAddress = (family: Family, value: bigint): string =>
  (family === 4 ? Address4.fromBigInt(value) : Address6.fromBigInt(value)).correctForm();

const makeCidr = (family: Family, first: bigint, prefix: number): Cidr => ({
  family,
  first,
  prefix,
  text: `${formatAddress(family, first)}/${prefix}`,
});

const sizeOf = ({ family, prefix }: Cidr): bigint => 1n << BigInt(widths[family] - prefix);

/** Clears the host bits of `address`. */
function maskedCidr(family: Family, address: bigint, prefix: number): Cidr {
  const hostBits = BigInt(widths[family] - prefix);
  return makeCidr(family, (address >> hostBits) << hostBits, prefix);
}

/**
 * Parses `ADDRESS/PREFIX`.
 * @throws CidrError also if host bits are set: `10.0.0.1/8` has a typo in the address or in the prefix length, and a
 * wrong guess would change which traffic is masqueraded
 */
export function parseCidr(text: string): Cidr {
  const [address, prefixText, ...rest] = text.split('/');
  if (!address || !/^(0|[1-9][0-9]{0,2})$/.test(prefixText ?? '') || rest.length > 0 || text.includes('%')) {
    throw invalidCidr(text, 'expected ADDRESS/PREFIX, such as 10.193.0.0/16');
  }
  const family = address.includes(':') ? 6 : 4;
  const prefix = Number(prefixText);
  if (prefix > widths[family]) {
    throw invalidCidr(text, `expected a prefix length of at most ${widths[family]} for IPv${family}`);
  }
  const value = parseAddressBits(family, address, text);
  const cidr = maskedCidr(family, value, prefix);
  if (cidr.first !== value) throw invalidCidr(text, `it has host bits set; the network is ${cidr.text}`);
  if (isIpv4InIpv6(cidr)) throw invalidCidr(text, 'it is IPv4 in IPv6 notation; use the IPv4 range');
  return cidr;
}

const invalidCidr = (text: string, problem: string, cause?: unknown) =>
  new CidrError(`invalid CIDR ${JSON.stringify(text)}: ${problem}`, { cause });

/** Whether the range is in the form `::a.b.c.d` or `::ffff:a.b.c.d`, which programs print in different ways. */
function isIpv4InIpv6({ family, first, prefix }: Cidr): boolean {
  const upper = first >> 32n;
  return family === 6 && prefix > 64 && first > 1n && (upper === 0n || upper === 0xffffn);
}

function parseAddressBits(family: Family, address: string, text: string): bigint {
  try {
    return (family === 4 ? new Address4(address) : new Address6(address)).bigInt();
  } catch (cause) {
    throw invalidCidr(text, 'expected an IPv4 or IPv6 address before the slash', cause);
  }
}

/** Parses `10.0.0.1` or `fd00::1`. @throws CidrError */
export function parseAddress(text: string): Address {
  const address = tryParseAddress(text);
  if (address) return address;
  throw new CidrError(`invalid address ${JSON.stringify(text)}: expected an IPv4 or IPv6 address`);
}

const isCidrError = (error: unknown): boolean => error instanceof CidrError;

/** Parses a CIDR like `parseCidr`, but returns undefined for text that is not a CIDR. */
export const tryParseCidr = (text: string): Cidr | undefined => tryParse(() => parseCidr(text), isCidrError);

/** Parses an address like `parseAddress`, but returns undefined for text that is not an address. */
export function tryParseAddress(text: string): Address | undefined {
  const cidr = tryParseCidr(`${text}/${text.includes(':') ? 128 : 32}`);
  return cidr && { family: cidr.family, value: cidr.first, text: formatAddress(cidr.family, cidr.first) };
}

/** Returns the range that contains only this address. */
export const toCidr = ({ family, value }: Address): Cidr => makeCidr(family, value, widths[family]);

/** Returns the first address of a range. */
export const firstAddress = ({ family, first }: Cidr): Address => ({
  family,
  value: first,
  text: formatAddress(family, first),
});

/** Compares ranges for sorting: IPv4 before IPv6, then by network address, then larger ranges first. */
export function compareCidrs(a: Cidr, b: Cidr): number {
  if (a.family !== b.family) return a.family - b.family;
  if (a.first !== b.first) return a.first < b.first ? -1 : 1;
  return a.prefix - b.prefix;
}

export function contains(range: Cidr, { family, value }: Address): boolean {
  return range.family === family && range.first <= value && value < range.first + sizeOf(range);
}

/** Whether every address of `inner` is in `outer`. */
export function covers(outer: Cidr, inner: Cidr): boolean {
  return (
    outer.family === inner.family &&
    outer.first <= inner.first &&
    inner.first + sizeOf(inner) <= outer.first + sizeOf(outer)
  );
}

/** Whether two ranges have addresses in common. Two CIDRs are always either nested or disjoint. */
export function overlaps(a: Cidr, b: Cidr): boolean {
  return covers(a, b) || covers(b, a);
}

/** Returns `from` without `removed`, as the shortest sorted list of CIDRs. */
export function subtract(from: Cidr, removed: readonly Cidr[]): Cidr[] {
  const overlapping = removed.filter((other) => overlaps(from, other));
  if (overlapping.some((other) => covers(other, from))) return [];
  if (overlapping.length === 0) return [from];
  const low = makeCidr(from.family, from.first, from.prefix + 1);
  const high = makeCidr(from.family, from.first + sizeOf(low), low.prefix);
  return [...subtract(low, overlapping), ...subtract(high, overlapping)];
}

/** A range, and the entries from which it was merged. */
export interface Aggregate<T extends { readonly cidr: Cidr }> {
  readonly cidr: Cidr;
  readonly from: readonly T[];
}

/**
 * Returns the shortest sorted list of CIDRs with exactly the same addresses, by merging nested ranges and adjacent
 * halves.
 */
export function aggregate<T extends { readonly cidr: Cidr }>(entries: readonly T[]): Aggregate<T>[] {
  const merged: { cidr: Cidr; from: T[] }[] = [];
  for (const entry of entries.toSorted((a, b) => compareCidrs(a.cidr, b.cidr))) {
    const last = merged.at(-1);
    if (last && covers(last.cidr, entry.cidr)) {
      last.from.push(entry);
      continue;
    }
    merged.push({ cidr: entry.cidr, from: [entry] });
    mergeHalves(merged);
  }
  return merged;
}

/** Merges the last two entries repeatedly while they are halves of the same range. */
function mergeHalves(merged: { cidr: Cidr; from: unknown[] }[]): void {
  for (;;) {
    const [low, high] = merged.slice(-2);
    if (!high || low?.cidr.prefix !== high.cidr.prefix) return;
    const whole = maskedCidr(low.cidr.family, low.cidr.first, low.cidr.prefix - 1);
    if (!covers(whole, high.cidr)) return;
    merged.splice(-2, 2, { cidr: whole, from: [...low.from, ...high.from] });
  }
}

/** Merges ranges like `aggregate`, for callers that do not need to know which entries were merged. */
export const mergeCidrs = (cidrs: readonly Cidr[]): Cidr[] =>
  aggregate(cidrs.map((cidr) => ({ cidr }))).map(({ cidr }) => cidr);
