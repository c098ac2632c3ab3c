import { parseIpAddress, prefixRange } from '../../address';
import type { Family, MarkOf, Range } from '../../model';
import { listOf, objectOf, textOf, type JsonValue } from './json';

/** Expressions inside expressions; nft itself prints no more. */
export const maxDepth = 12;

/** Every bit of a mark. */
export const fullMask = 0xffffffff;

/** The mark that an expression reads or sets. */
export function parseMarkKey(key: JsonValue): MarkOf | undefined {
  const { meta, ct } = objectOf(key);
  if (objectOf(meta)['key'] === 'mark') return 'packet';
  return objectOf(ct)['key'] === 'mark' ? 'connection' : undefined;
}

interface MarkExpression {
  readonly from: MarkOf | undefined;
  readonly mask: number;
  readonly xor: number;
}

/** (from & mask) ^ xor */
export function parseMarkExpression(value: JsonValue, depth: number): MarkExpression | undefined {
  if (typeof value === 'number') return { from: undefined, mask: 0, xor: value >>> 0 };
  const from = parseMarkKey(value);
  if (from) return { from, mask: fullMask, xor: 0 };
  const [operator, operands] = Object.entries(objectOf(value))[0] ?? [];
  const [left = null, right] = listOf(operands);
  if (typeof right !== 'number' || depth > maxDepth) return undefined;
  const inner = parseMarkExpression(left, depth + 1);
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

export function parseNumberRange(value: JsonValue): Range<number> | undefined {
  if (typeof value === 'number') return { first: value, last: value };
  const [first, last] = listOf(objectOf(value)['range']);
  return typeof first === 'number' && typeof last === 'number' ? { first, last } : undefined;
}

/** @returns undefined for what is no address, prefix or range */
export function parseAddressRanges(
  value: JsonValue,
): { family: Family; ranges: readonly Range[] } | undefined {
  const { prefix, range } = objectOf(value);
  if (prefix) {
    const parsed = parseIpAddress(textOf(objectOf(prefix)['addr']));
    const length = Number(objectOf(prefix)['len']);
    const isPrefixLength =
      parsed && Number.isInteger(length) && length >= 0 && length <= (parsed.family === 4 ? 32 : 128);
    return isPrefixLength
      ? { family: parsed.family, ranges: [prefixRange(parsed.family, parsed.address, length)] }
      : undefined;
  }
  const [from = value, to = from] = listOf(range);
  const first = parseIpAddress(textOf(from));
  const last = parseIpAddress(textOf(to));
  if (!first || first.family !== last?.family) return undefined;
  return { family: first.family, ranges: [{ first: first.address, last: last.address }] };
}
