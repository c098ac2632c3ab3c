import { Address4, Address6 } from 'ip-address';
import type { Family, Span } from './model';

export const bitsOf = (family: Family) => (family === 4 ? 32 : 128);

/** Dotted quads are most of a dump: this is faster than the general reader. */
function readQuad(text: string): bigint | undefined {
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
export function readAddress(text: string): { family: Family; address: bigint } | undefined {
  if (!text.includes(':')) {
    const address = readQuad(text);
    return address === undefined ? undefined : { family: 4, address };
  }
  if (text.length > 45 || !Address6.isValid(text) || /[%/]/.test(text)) return undefined;
  return { family: 6, address: new Address6(text).bigInt() };
}

/** @param address as a number */
export function printAddress(family: Family, address: bigint): string {
  return (family === 4 ? Address4.fromBigInt(address) : Address6.fromBigInt(address)).correctForm();
}

/** The addresses that share `prefix` bits with `address`. */
export function spanOf(family: Family, address: bigint, prefix: number): Span {
  const hostBits = BigInt(bitsOf(family) - prefix);
  const first = (address >> hostBits) << hostBits;
  return { first, last: first + (1n << hostBits) - 1n };
}

/**
 * Reads `10.0.0.0/8`, `10.0.0.0/255.0.0.0`, `10.0.0.1` and `10.0.0.1-10.0.0.9`.
 * @returns undefined for anything else, also for a mask with holes
 */
export function readSpan(text: string): { family: Family; span: Span } | undefined {
  const [from = '', to, ...more] = text.split('-');
  if (to !== undefined) {
    const first = readAddress(from);
    const last = readAddress(to);
    if (more.length > 0 || !first || first.family !== last?.family || first.address > last.address)
      return undefined;
    return { family: first.family, span: { first: first.address, last: last.address } };
  }
  const [address = '', mask, ...rest] = text.split('/');
  const read = readAddress(address);
  const prefix = read && readPrefix(read.family, mask);
  if (!read || prefix === undefined || rest.length > 0) return undefined;
  return { family: read.family, span: spanOf(read.family, read.address, prefix) };
}

function readPrefix(family: Family, text: string | undefined): number | undefined {
  const bits = bitsOf(family);
  if (text === undefined) return bits;
  if (/^\d{1,3}$/.test(text)) return Number(text) <= bits ? Number(text) : undefined;
  const mask = readAddress(text);
  if (mask?.family !== family) return undefined;
  const binary = mask.address.toString(2).padStart(bits, '0');
  return /^1*0*$/.test(binary) ? binary.lastIndexOf('1') + 1 : undefined;
}

export const holds = <T extends bigint | number>(spans: readonly Span<T>[], value: T): boolean =>
  spans.some(({ first, last }) => first <= value && value <= last);
