import { Address4, Address6 } from 'ip-address';
import { tryParse } from '../util/functional';

/** A range of addresses in its one canonical spelling: no host bits, RFC 5952 for IPv6. */
export interface Cidr {
  readonly family: 4 | 6;
  /** The first address. */
  readonly first: bigint;
  readonly prefix: number;
  /** As it is printed everywhere: `10.0.0.0/8`, `fd00::/8`. */
  readonly text: string;
}

/** One address. It has no prefix length: an interface's address is not a range. */
export interface Address {
  readonly family: 4 | 6;
  readonly value: bigint;
  /** In canonical form: `10.0.0.1`, `fd00::1`. */
  readonly text: string;
}

const widths = { 4: 32, 6: 128 } as const;

const formatAddress = (family: 4 | 6, value: bigint): string =>
  (family === 4 ? Address4.fromBigInt(value) : Address6.fromBigInt(value)).correctForm();

const make = (family: 4 | 6, first: bigint, prefix: number): Cidr => ({
  family,
  first,
  prefix,
  text: `${formatAddress(family, first)}/${prefix}`,
});

const sizeOf = ({ family, prefix }: Cidr): bigint => 1n << BigInt(widths[family] - prefix);

/** The same range of addresses with the host bits of `first` cleared. */
const aligned = (family: 4 | 6, first: bigint, prefix: number): Cidr => {
  const hostBits = BigInt(widths[family] - prefix);
  return make(family, (first >> hostBits) << hostBits, prefix);
};

export class CidrError extends Error {
  override readonly name = 'CidrError';
}

/**
 * Reads `ADDRESS/PREFIX`.
 * @throws CidrError that says what was read and what is accepted, also for host bits: `10.0.0.1/8` is a slip
 *   of the pen or a wrong prefix, and guessing which would change who is masqueraded.
 */
export function parseCidr(text: string): Cidr {
  const [address, prefixText, ...rest] = text.split('/');
  if (!address || !/^(0|[1-9][0-9]{0,2})$/.test(prefixText ?? '') || rest.length > 0 || text.includes('%')) {
    throw new CidrError(`${JSON.stringify(text)} is not a CIDR; write ADDRESS/PREFIX, such as 10.193.0.0/16`);
  }
  const family = address.includes(':') ? 6 : 4;
  const prefix = Number(prefixText);
  if (prefix > widths[family]) {
    throw new CidrError(
      `${JSON.stringify(text)} has prefix /${prefix}; IPv${family} takes /0 to /${widths[family]}`,
    );
  }
  const first = readAddress(family, address, text);
  const exact = aligned(family, first, prefix);
  if (exact.first !== first) {
    throw new CidrError(`${JSON.stringify(text)} has host bits set; the range it lies in is ${exact.text}`);
  }
  if (isIpv4InIpv6(exact)) {
    throw new CidrError(`${JSON.stringify(text)} is IPv4 in IPv6; write the IPv4 range`);
  }
  return exact;
}

/** `::a.b.c.d` and `::ffff:a.b.c.d`, which every tool prints in a spelling of its own. */
function isIpv4InIpv6({ family, first, prefix }: Cidr): boolean {
  const upper = first >> 32n;
  return family === 6 && prefix > 64 && first > 1n && (upper === 0n || upper === 0xffffn);
}

function readAddress(family: 4 | 6, address: string, text: string): bigint {
  try {
    return (family === 4 ? new Address4(address) : new Address6(address)).bigInt();
  } catch (cause) {
    throw new CidrError(`${JSON.stringify(text)} does not start with an IPv4 or IPv6 address`, { cause });
  }
}

/** Reads `10.0.0.1` or `fd00::1`. @throws CidrError */
export function parseAddress(text: string): Address {
  const { family, first } = parseCidr(`${text}/${text.includes(':') ? 128 : 32}`);
  return { family, value: first, text: formatAddress(family, first) };
}

const isCidrError = (error: unknown): boolean => error instanceof CidrError;

/** As `parseCidr`; undefined for text that is not a CIDR. */
export const tryParseCidr = (text: string): Cidr | undefined => tryParse(() => parseCidr(text), isCidrError);

/** As `parseAddress`; undefined for text that is not an address. */
export const tryParseAddress = (text: string): Address | undefined =>
  tryParse(() => parseAddress(text), isCidrError);

/** The range that holds only this address. */
export const toCidr = ({ family, value }: Address): Cidr => make(family, value, widths[family]);

/** IPv4 before IPv6, then by first address, then the wider range first. */
export function compareCidrs(a: Cidr, b: Cidr): number {
  return a.family - b.family || (a.first < b.first ? -1 : a.first > b.first ? 1 : a.prefix - b.prefix);
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

/** CIDRs either nest or are disjoint. */
export function overlaps(a: Cidr, b: Cidr): boolean {
  return covers(a, b) || covers(b, a);
}

/** What of `from` is left without `removed`, as few CIDRs as possible, in order. */
export function subtract(from: Cidr, removed: readonly Cidr[]): Cidr[] {
  const overlapping = removed.filter((other) => overlaps(from, other));
  if (overlapping.some((other) => covers(other, from))) return [];
  if (overlapping.length === 0) return [from];
  const half = make(from.family, from.first, from.prefix + 1);
  const otherHalf = make(from.family, from.first + sizeOf(half), half.prefix);
  return [...subtract(half, overlapping), ...subtract(otherHalf, overlapping)];
}

/** A range, and everything that asked for it or for a part of it. */
export interface Aggregate<T extends { readonly cidr: Cidr }> {
  readonly cidr: Cidr;
  readonly from: readonly T[];
}

/**
 * The fewest CIDRs that cover exactly the same addresses, in order: ranges inside another one disappear into
 * it, two halves of one range become that range. Each says which entries it came from.
 */
export function aggregate<T extends { readonly cidr: Cidr }>(entries: readonly T[]): Aggregate<T>[] {
  const done: { cidr: Cidr; from: T[] }[] = [];
  for (const entry of entries.toSorted((a, b) => compareCidrs(a.cidr, b.cidr))) {
    const last = done.at(-1);
    if (last && covers(last.cidr, entry.cidr)) {
      last.from.push(entry);
      continue;
    }
    done.push({ cidr: entry.cidr, from: [entry] });
    mergeHalves(done);
  }
  return done;
}

/** Joins the last two entries for as long as they are the halves of one range. */
function mergeHalves(done: { cidr: Cidr; from: unknown[] }[]): void {
  for (;;) {
    const [low, high] = done.slice(-2);
    if (!high || low?.cidr.prefix !== high.cidr.prefix) return;
    const whole = aligned(low.cidr.family, low.cidr.first, low.cidr.prefix - 1);
    if (!covers(whole, high.cidr)) return;
    done.splice(-2, 2, { cidr: whole, from: [...low.from, ...high.from] });
  }
}
