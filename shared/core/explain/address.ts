import { Address4, Address6 } from 'ip-address';
import type { Family, Range } from './model';

export const addressBits = (family: Family) => (family === 4 ? 32 : 128);

/** Dotted quads are most of a dump: this is faster than the general reader. */
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

/** @returns undefined where it is no address */
export function parseIpAddress(text: string): { family: Family; address: bigint } | undefined {
  if (!text.includes(':')) {
    const address = parseIpv4(text);
    return address === undefined ? undefined : { family: 4, address };
  }
  if (text.length > 45 || !Address6.isValid(text) || /[%/]/.test(text)) return undefined;
  return { family: 6, address: new Address6(text).bigInt() };
}

/** @param address as a number */
export function formatAddress(family: Family, address: bigint): string {
  return (family === 4 ? Address4.fromBigInt(address) : Address6.fromBigInt(address)).correctForm();
}

/** The addresses that share `prefix` bits with `address`. */
export function prefixRange(family: Family, address: bigint, prefix: number): Range {
  const hostBits = BigInt(addressBits(family) - prefix);
  const first = (address >> hostBits) << hostBits;
  return { first, last: first + (1n << hostBits) - 1n };
}

/**
 * Reads `10.0.0.0/8`, `10.0.0.0/255.0.0.0`, `10.0.0.1` and `10.0.0.1-10.0.0.9`.
 * @returns undefined for anything else, also for a mask with holes
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

export const contains = <T extends bigint | number>(ranges: readonly Range<T>[], value: T): boolean =>
  ranges.some(({ first, last }) => first <= value && value <= last);
