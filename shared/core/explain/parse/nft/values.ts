import type { Family, MarkField, Range } from '../../model';
import { addressBits, fullMask, parseIpAddress, prefixRange, singleRange } from '../../ranges';

export type JsonValue =
  null | boolean | number | string | readonly JsonValue[] | { readonly [key: string]: JsonValue };
export type JsonObject = Readonly<Record<string, JsonValue>>;

// Dumps are untrusted, so these functions treat a missing value, or a value of another type, as empty.
export const isJsonObject = (value: JsonValue | undefined): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
export const objectOf = (value: JsonValue | undefined): JsonObject => (isJsonObject(value) ? value : {});
export const listOf = (value: JsonValue | undefined): readonly JsonValue[] =>
  Array.isArray(value) ? (value as readonly JsonValue[]) : [];
export const textOf = (value: JsonValue | undefined): string => (typeof value === 'string' ? value : '');
export const scalarText = (value: JsonValue | undefined): string =>
  typeof value === 'string' ? value : JSON.stringify(value ?? null);

/** Reads a list of flags or devices. nft prints a list with one item as a string. */
export const textsOf = (value: JsonValue | undefined): readonly string[] =>
  typeof value === 'string' ? [value] : listOf(value).map(textOf);

/** Returns an element of a set without its timeout, counter or comment. */
export const unwrapElement = (value: JsonValue): JsonValue =>
  objectOf(objectOf(value)['elem'])['val'] ?? value;

/** Formats an expression as nft prints it, with at most 200 characters. */
export function formatExpression(value: JsonValue): string {
  const text = formatWhole(value);
  return text.length > 200 ? `${text.slice(0, 197)}...` : text;
}

const maxListedElements = 8;

function formatWhole(value: JsonValue): string {
  if (Array.isArray(value)) return listOf(value).map(scalarText).join(' | ');
  const { prefix, range, set, concat } = objectOf(value);
  if (prefix) return `${textOf(objectOf(prefix)['addr'])}/${scalarText(objectOf(prefix)['len'])}`;
  if (concat) return listOf(concat).map(scalarText).join(' . ');
  if (range) return listOf(range).map(scalarText).join('-');
  if (!set) return scalarText(value);
  const elements = listOf(set).slice(0, maxListedElements);
  const texts = elements.map((one) => (isJsonObject(one) ? formatExpression(one) : scalarText(one)));
  return `{ ${texts.join(', ')} }`;
}

/** The maximum nesting depth of expressions in the output of nft. */
export const maxExpressionDepth = 12;

/** Returns which mark an expression reads or sets. */
export function parseMarkField(key: JsonValue): MarkField | undefined {
  const { meta, ct } = objectOf(key);
  if (objectOf(meta)['key'] === 'mark') return 'packet';
  return objectOf(ct)['key'] === 'mark' ? 'connection' : undefined;
}

/** (from & mask) ^ xor */
interface MarkExpression {
  readonly from: MarkField | undefined;
  readonly mask: number;
  readonly xor: number;
}

export function parseMarkExpression(value: JsonValue, depth = 0): MarkExpression | undefined {
  if (typeof value === 'number') return { from: undefined, mask: 0, xor: value >>> 0 };
  const from = parseMarkField(value);
  if (from) return { from, mask: fullMask, xor: 0 };
  const [operator, operands] = Object.entries(objectOf(value))[0] ?? [];
  const [left = null, right] = listOf(operands);
  if (typeof right !== 'number' || depth > maxExpressionDepth) return undefined;
  const inner = parseMarkExpression(left, depth + 1);
  if (!inner) return undefined;
  const { mask, xor } = inner;
  switch (operator) {
    case '&':
      return { from: inner.from, mask: (mask & right) >>> 0, xor: (xor & right) >>> 0 };
    case '|':
      return { from: inner.from, mask: (mask & ~right) >>> 0, xor: (xor | right) >>> 0 };
    case '^':
      return { from: inner.from, mask, xor: (xor ^ right) >>> 0 };
    default:
      return undefined;
  }
}

export function parseNumberRange(value: JsonValue): Range<number> | undefined {
  if (typeof value === 'number') return singleRange(value);
  const [first, last] = listOf(objectOf(value)['range']);
  return typeof first === 'number' && typeof last === 'number' ? { first, last } : undefined;
}

interface AddressRanges {
  readonly family: Family;
  readonly ranges: readonly Range[];
}

/** @returns undefined if `value` is not an address, a prefix or a range */
export function parseAddressRanges(value: JsonValue): AddressRanges | undefined {
  const { prefix, range } = objectOf(value);
  if (prefix) return parsePrefix(objectOf(prefix));
  const [from = value, to = from] = listOf(range);
  const first = parseIpAddress(textOf(from));
  const last = parseIpAddress(textOf(to));
  if (!first || first.family !== last?.family) return undefined;
  return { family: first.family, ranges: [{ first: first.address, last: last.address }] };
}

function parsePrefix({ addr, len }: JsonObject): AddressRanges | undefined {
  const parsed = parseIpAddress(textOf(addr));
  const length = Number(len);
  if (!parsed || !Number.isInteger(length) || length < 0 || length > addressBits(parsed.family))
    return undefined;
  return { family: parsed.family, ranges: [prefixRange(parsed.family, parsed.address, length)] };
}
