import { type Family, type MarkField, type Range, unknownMatch, type RuleMatch } from '../../model';
import { addressBits, fullMask, parseIpAddress, prefixRange, singleRange } from '../../ranges';
import { parseField } from './field';

export type JsonValue =
  null | boolean | number | string | readonly JsonValue[] | { readonly [key: string]: JsonValue };
export type JsonObject = Readonly<Record<string, JsonValue>>;

// A dump is untrusted: a missing value, or one of another type, is read as an empty one.
export const isJsonObject = (value: JsonValue | undefined): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
export const objectOf = (value: JsonValue | undefined): JsonObject => (isJsonObject(value) ? value : {});
export const listOf = (value: JsonValue | undefined): readonly JsonValue[] =>
  Array.isArray(value) ? (value as readonly JsonValue[]) : [];
export const textOf = (value: JsonValue | undefined): string => (typeof value === 'string' ? value : '');
export const scalarText = (value: JsonValue | undefined): string =>
  typeof value === 'string' ? value : JSON.stringify(value ?? null);

/** nft prints a single flag or device as a string, several as a list. */
export const textsOf = (value: JsonValue | undefined): readonly string[] =>
  typeof value === 'string' ? [value] : listOf(value).map(textOf);

/** An element of a set, without its timeout, counter or comment. */
export const unwrapElement = (value: JsonValue): JsonValue =>
  objectOf(objectOf(value)['elem'])['val'] ?? value;

/** An expression as nft prints it, at most 200 characters. */
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

/** nft itself prints no deeper nesting of expressions. */
export const maxExpressionDepth = 12;

/** Which mark an expression reads or sets. */
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

/** @returns undefined unless `value` is an address, a prefix or a range */
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

/** A named set or map of the table. */
export type SetLookup = (name: string) => JsonObject | undefined;

/** @returns the match, after those that nft implies: `ip saddr` implies IPv4, `tcp dport` implies TCP */
export function parseMatch({ op, left, right }: JsonObject, findSet: SetLookup): RuleMatch[] {
  const isNegated = op === '!=';
  const values = valuesOf(right ?? null, findSet);
  const { label, parser } = parseField(left ?? null);
  const operator = op === '==' || op === 'in' ? [] : [textOf(op)];
  const text = [label, ...operator, formatExpression(right ?? null)].join(' ');
  const unsupported = unknownMatch(text, 'unsupported match');
  if (!values || typeof op !== 'string') return [unsupported];
  const fields = listOf(objectOf(left)['concat']);
  if (fields.length > 0) {
    const alternatives = values.map((value) => parseConcatenation(fields, value, findSet));
    // Outside the negation: `tcp dport != …` never matches UDP.
    const implied = fields.flatMap((field) => parseField(field).parser?.implied ?? []);
    return [...implied, { kind: 'any', alternatives, isNegated, text }];
  }
  if (!parser) return [unsupported];
  const condition = parser.parse(comparisonToRange(op, values));
  return [...parser.implied, condition ? { ...condition, isNegated, text } : unsupported];
}

function parseConcatenation(
  fields: readonly JsonValue[],
  value: JsonValue,
  findSet: SetLookup,
): readonly RuleMatch[] {
  const parts = listOf(objectOf(value)['concat']);
  return fields.flatMap((left, index) =>
    parseMatch({ op: '==', left, right: parts[index] ?? null }, findSet),
  );
}

/** `<`, `>`, `<=`, `>=` as ranges. */
function comparisonToRange(op: string, values: readonly JsonValue[]): readonly JsonValue[] {
  const [value] = values;
  if (typeof value !== 'number') return values;
  switch (op) {
    case '<':
      return [{ range: [0, value - 1] }];
    case '<=':
      return [{ range: [0, value] }];
    case '>':
      return [{ range: [value + 1, fullMask] }];
    case '>=':
      return [{ range: [value, fullMask] }];
    default:
      return values;
  }
}

/** The values to compare with, including the elements of sets; undefined if they are not in the dump. */
function valuesOf(right: JsonValue, findSet: SetLookup): readonly JsonValue[] | undefined {
  if (typeof right === 'string' && right.startsWith('@')) {
    const set = findSet(right.slice(1));
    const flags = listOf(set?.['flags']);
    return set && !flags.includes('dynamic') && !flags.includes('timeout')
      ? listOf(set['elem']).map(unwrapElement)
      : undefined;
  }
  if (Array.isArray(right)) return right as readonly JsonValue[];
  const { set } = objectOf(right);
  return set === undefined ? [right] : listOf(set).map(unwrapElement);
}
