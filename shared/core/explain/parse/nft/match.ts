import { unknownMatch, type RuleMatch } from '../../model';
import { fullMask } from '../../ranges';
import { parseField } from './field';
import {
  formatExpression,
  listOf,
  objectOf,
  textOf,
  unwrapElement,
  type JsonObject,
  type JsonValue,
} from './values';

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
