import type { JsonObject, JsonValue } from '../values';
import { readConcatenation } from './expression';
import type { Cursor } from './tokens';

/**
 * Reads the elements of a set or of a map, after the opening brace up to and with the closing brace.
 * @returns undefined if the text ends before the brace, or has an element that cannot be read
 */
export function readElements(cursor: Cursor): JsonValue[] | undefined {
  const elements: JsonValue[] = [];
  for (;;) {
    skipLineEnds(cursor);
    if (cursor.skip('}')) return elements;
    const element = readElement(cursor);
    if (element === undefined) return undefined;
    elements.push(element);
    skipLineEnds(cursor);
    if (!cursor.skip(',') && !cursor.isNext('}')) return undefined;
  }
}

function skipLineEnds(cursor: Cursor): void {
  while (cursor.peek()?.kind === 'line-end') cursor.next();
}

function readElement(cursor: Cursor): JsonValue | undefined {
  const value = readConcatenation(cursor);
  if (value === undefined) return undefined;
  const start = cursor.mark;
  skipElementOptions(cursor);
  const key = cursor.mark === start ? value : { elem: { val: value } };
  if (!cursor.skip(':')) return key;
  const data = readVerdict(cursor) ?? readConcatenation(cursor);
  if (data === undefined) return undefined;
  skipElementOptions(cursor);
  return [key, data];
}

/** `timeout 5h expires 4h59m comment "x" counter packets 5 bytes 6`. */
function skipElementOptions(cursor: Cursor): void {
  while (/^(?:timeout|expires|comment|counter|packets|bytes)$/.test(cursor.peek()?.text ?? '')) {
    const option = cursor.next();
    if (option?.text !== 'counter') cursor.next();
  }
}

/** Reads `accept`, `jump CHAIN` and the other verdicts. */
export function readVerdict(cursor: Cursor): JsonObject | undefined {
  const verdict = cursor.word(/^(?:accept|drop|return|continue)$/);
  if (verdict !== undefined) return { [verdict]: null };
  const start = cursor.mark;
  const call = cursor.word(/^(?:jump|goto)$/);
  const target = call === undefined ? undefined : cursor.name();
  if (call !== undefined && target !== undefined) return { [call]: { target } };
  cursor.moveTo(start);
  return undefined;
}
