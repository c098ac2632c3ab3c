import { expect } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

type Json = Record<string, unknown>;

/** Reads a recorded event from test/events/gcp. */
export const fixture = (name: string): Json =>
  JSON.parse(readFileSync(join(__dirname, '../../events/gcp', `${name}.json`), 'utf8')) as Json;

/** Returns a copy of the event with a different value at `path`, such as `data.protoPayload.methodName`. */
export function changed(event: Json, path: string, value: unknown): Json {
  const copy = structuredClone(event);
  const keys = path.split('.');
  const last = keys.pop() ?? '';
  const parent = keys.reduce<Json>((at, key) => at[key] as Json, copy);
  parent[last] = value;
  return copy;
}

/** The node in the recorded inserts. */
export const node = {
  cloud: 'gcp',
  project: 'identity-nonprod',
  zone: 'europe-west1-c',
  id: '4520031799277581759',
};

export const ignoredBecause = (reason: RegExp) => ({
  kind: 'ignored',
  reason: expect.stringMatching(reason) as unknown,
});
