import { expect } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

type Json = Record<string, unknown>;

/** A recorded event of test/events/gcp. */
export const fixture = (name: string): Json =>
  JSON.parse(readFileSync(join(__dirname, '../../events/gcp', `${name}.json`), 'utf8')) as Json;

/** A copy of the event with the value at `path` (`data.protoPayload.methodName`) replaced. */
export function changed(event: Json, path: string, value: unknown): Json {
  const copy = structuredClone(event);
  const keys = path.split('.');
  const last = keys.pop() ?? '';
  const parent = keys.reduce<Json>((at, key) => at[key] as Json, copy);
  parent[last] = value;
  return copy;
}

/** The node of the recorded inserts. */
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
