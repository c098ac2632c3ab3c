import type { RuleMatch } from '../../model';
import { parseField } from './field';
import { listOf, objectOf, abbreviate, textOf, unwrapElement, type JsonValue, type JsonObject } from './json';
import { maxDepth, fullMask } from './value';

export const unknownMatch = (text: string, reason: string): RuleMatch => ({
  kind: 'unknown',
  reason,
  negated: false,
  text,
});

type SetLookup = (name: string) => JsonObject | undefined;

/** The test, and before it what nft takes for granted: `ip saddr` asks for IPv4, `tcp dport` for TCP. */
export function parseMatch({ op, left, right }: JsonObject, findSet: SetLookup): RuleMatch[] {
  const negated = op === '!=';
  const values = valuesOf(right ?? null, findSet, 0);
  const [names, field] = parseField(left ?? null);
  const shown = op === '==' || op === 'in' ? [] : [textOf(op)];
  const text = [names, ...shown, abbreviate(right ?? null)].join(' ');
  const unknown = unknownMatch(text, 'this match is not known here');
  if (!values || typeof op !== 'string') return [unknown];
  const concatenated = listOf(objectOf(left)['concat']);
  if (concatenated.length > 0) {
    // Outside the negation: `tcp dport != …` says nothing of UDP.
    const condition = concatenated.flatMap((part) => parseField(part)[1]?.implied ?? []);
    return [...condition, concatenationMatch(concatenated, values, negated, text, findSet)];
  }
  if (!field) return [unknown];
  const test = field.test(comparisonToRange(op, values));
  return [...field.implied, test ? { ...test, negated, text } : unknown];
}

/** `<`, `>`, `<=`, `>=` as ranges. */
function comparisonToRange(op: string, values: readonly JsonValue[]): readonly JsonValue[] {
  const [value] = values;
  if (typeof value !== 'number') return values;
  const ranges: Readonly<Record<string, readonly [number, number]>> = {
    '<': [0, value - 1],
    '<=': [0, value],
    '>': [value + 1, fullMask],
    '>=': [value, fullMask],
  };
  const range = Object.hasOwn(ranges, op) ? ranges[op] : undefined;
  return range ? [{ range }] : values;
}

function concatenationMatch(
  lefts: readonly JsonValue[],
  values: readonly JsonValue[],
  negated: boolean,
  text: string,
  findSet: SetLookup,
): RuleMatch {
  const alternatives = values.map((value) => {
    const parts = listOf(objectOf(value)['concat']);
    return lefts.flatMap((left, index) =>
      parseMatch({ op: '==', left, right: parts[index] ?? null }, findSet),
    );
  });
  return { kind: 'any', alternatives, negated, text };
}

/** The values on the right of a match, those of sets one by one; undefined where they are not known. */
function valuesOf(right: JsonValue, findSet: SetLookup, depth: number): readonly JsonValue[] | undefined {
  if (depth > maxDepth) return undefined;
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
