import type { Match } from '../model';
import { fieldOf } from './field';
import { listOf, objectOf, short, textOf, unwrapped, type Json, type JsonObject } from './json';
import { maxDepth, whole } from './value';

export const unknownMatch = (text: string, why: string): Match => ({
  kind: 'unknown',
  why,
  negated: false,
  text,
});

type SetNamed = (name: string) => JsonObject | undefined;

/** The test, and before it what nft takes for granted: `ip saddr` asks for IPv4, `tcp dport` for TCP. */
export function matchOf({ op, left, right }: JsonObject, setNamed: SetNamed): Match[] {
  const negated = op === '!=';
  const values = valuesOf(right ?? null, setNamed, 0);
  const [names, field] = fieldOf(left ?? null);
  const shown = op === '==' || op === 'in' ? [] : [textOf(op)];
  const text = [names, ...shown, short(right ?? null)].join(' ');
  const unknown = unknownMatch(text, 'this match is not known here');
  if (!values || typeof op !== 'string') return [unknown];
  const concatenated = listOf(objectOf(left)['concat']);
  if (concatenated.length > 0) {
    // Outside the negation: `tcp dport != …` says nothing of UDP.
    const asked = concatenated.flatMap((part) => fieldOf(part)[1]?.needs ?? []);
    return [...asked, concatenation(concatenated, values, negated, text, setNamed)];
  }
  if (!field) return [unknown];
  const test = field.test(compared(op, values));
  return [...field.needs, test ? { ...test, negated, text } : unknown];
}

/** `<`, `>`, `<=`, `>=` as ranges. */
function compared(op: string, values: readonly Json[]): readonly Json[] {
  const [value] = values;
  if (typeof value !== 'number') return values;
  const ranges: Readonly<Record<string, readonly [number, number]>> = {
    '<': [0, value - 1],
    '<=': [0, value],
    '>': [value + 1, whole],
    '>=': [value, whole],
  };
  const range = Object.hasOwn(ranges, op) ? ranges[op] : undefined;
  return range ? [{ range }] : values;
}

function concatenation(
  lefts: readonly Json[],
  values: readonly Json[],
  negated: boolean,
  text: string,
  setNamed: SetNamed,
): Match {
  const alternatives = values.map((value) => {
    const parts = listOf(objectOf(value)['concat']);
    return lefts.flatMap((left, index) => matchOf({ op: '==', left, right: parts[index] ?? null }, setNamed));
  });
  return { kind: 'any', alternatives, negated, text };
}

/** The values on the right of a match, those of sets one by one; undefined where they are not known. */
function valuesOf(right: Json, setNamed: SetNamed, depth: number): readonly Json[] | undefined {
  if (depth > maxDepth) return undefined;
  if (typeof right === 'string' && right.startsWith('@')) {
    const set = setNamed(right.slice(1));
    const flags = listOf(set?.['flags']);
    return set && !flags.includes('dynamic') && !flags.includes('timeout')
      ? listOf(set['elem']).map(unwrapped)
      : undefined;
  }
  if (Array.isArray(right)) return right as readonly Json[];
  const { set } = objectOf(right);
  return set === undefined ? [right] : listOf(set).map(unwrapped);
}
