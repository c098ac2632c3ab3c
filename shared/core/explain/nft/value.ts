import { readAddress, spanOf } from '../address';
import type { Family, MarkOf, Span } from '../model';
import { listOf, objectOf, textOf, type Json } from './json';

/** Expressions inside expressions; nft itself prints no more. */
export const maxDepth = 12;

/** Every bit of a mark. */
export const whole = 0xffffffff;

/** The mark that an expression reads or sets. */
export function markIn(key: Json): MarkOf | undefined {
  const { meta, ct } = objectOf(key);
  if (objectOf(meta)['key'] === 'mark') return 'packet';
  return objectOf(ct)['key'] === 'mark' ? 'connection' : undefined;
}

interface Linear {
  readonly from: MarkOf | undefined;
  readonly mask: number;
  readonly xor: number;
}

/** (from & mask) ^ xor */
export function linear(value: Json, depth: number): Linear | undefined {
  if (typeof value === 'number') return { from: undefined, mask: 0, xor: value >>> 0 };
  const from = markIn(value);
  if (from) return { from, mask: whole, xor: 0 };
  const [operator, operands] = Object.entries(objectOf(value))[0] ?? [];
  const [left = null, right] = listOf(operands);
  if (typeof right !== 'number' || depth > maxDepth) return undefined;
  const inner = linear(left, depth + 1);
  if (!inner) return undefined;
  switch (operator) {
    case '&':
      return { from: inner.from, mask: (inner.mask & right) >>> 0, xor: (inner.xor & right) >>> 0 };
    case '|':
      return {
        from: inner.from,
        mask: (inner.mask & ~right) >>> 0,
        xor: ((inner.xor & ~right) | right) >>> 0,
      };
    case '^':
      return { from: inner.from, mask: inner.mask, xor: (inner.xor ^ right) >>> 0 };
    default:
      return undefined;
  }
}

export function numberSpan(value: Json): Span<number> | undefined {
  if (typeof value === 'number') return { first: value, last: value };
  const [first, last] = listOf(objectOf(value)['range']);
  return typeof first === 'number' && typeof last === 'number' ? { first, last } : undefined;
}

/** @returns undefined for what is no address, prefix or range */
export function addressSpans(value: Json): { family: Family; spans: readonly Span[] } | undefined {
  const { prefix, range } = objectOf(value);
  if (prefix) {
    const read = readAddress(textOf(objectOf(prefix)['addr']));
    const length = Number(objectOf(prefix)['len']);
    const isLength =
      read && Number.isInteger(length) && length >= 0 && length <= (read.family === 4 ? 32 : 128);
    return isLength ? { family: read.family, spans: [spanOf(read.family, read.address, length)] } : undefined;
  }
  const [from = value, to = from] = listOf(range);
  const first = readAddress(textOf(from));
  const last = readAddress(textOf(to));
  if (!first || first.family !== last?.family) return undefined;
  return { family: first.family, spans: [{ first: first.address, last: last.address }] };
}
