import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { ensureJournalDirectory, openJournal, readJournal } from '../../../../functions/cli/backfill/journal';
import type { PlannedChange } from '../../../../functions/cli/dry-run';
import type { NodeRef } from '../../../../shared/core/model/node';
import type { Outcome } from '../../../../shared/core/reconcile/outcome';

let stateHome: string;
beforeEach(() => {
  stateHome = mkdtempSync(join(tmpdir(), 'peermasq-journals-'));
  process.env['XDG_STATE_HOME'] = stateHome;
  ensureJournalDirectory();
});
afterEach(() => {
  rmSync(stateHome, { recursive: true });
});

const refOf = (id: string): NodeRef => ({ cloud: 'aws', account: '1', region: 'us-east-1', id });
/** Returns a planned change with only the fields that a journal reads. */
const planned = (id: string, ruleSetId = 'first') =>
  ({
    target: { name: 'aws us-east-1' },
    cluster: 'shop',
    node: { ref: refOf(id), name: id },
    outcome: { plan: { id: ruleSetId } },
  }) as unknown as PlannedChange;
const ended = (id: string, kind: 'proven' | 'pending') => ({ node: refOf(id), kind }) as Outcome;
const states = () => readJournal(undefined).nodes.map(({ name, state }) => `${name} ${state}`);

test('a resumed backfill keeps the recorded states of nodes that it has not processed again', () => {
  const first = openJournal('backfill', [planned('a'), planned('b'), planned('c'), planned('d')]);
  first.begin([planned('a'), planned('b'), planned('c')]);
  first.end([ended('a', 'proven'), ended('b', 'pending')]);
  const second = openJournal('backfill', [planned('b'), planned('c'), planned('d')]);
  expect(second.file).toBe(first.file);
  second.begin([planned('b')]);
  expect(states()).toEqual(['a proven', 'b pushing', 'c pushing', 'd untouched']);
});

test('a backfill with a changed plan starts a new journal, and so does every rollback', async () => {
  const first = openJournal('backfill', [planned('a')]);
  first.begin([planned('a')]);
  expect(openJournal('rollback', [planned('a')]).file).not.toBe(first.file);
  expect(readJournal(undefined).file).toBe(first.file);
  // Journal names contain the time in milliseconds. The wait ensures that the next journal gets a different name.
  await setTimeout(2);
  expect(openJournal('backfill', [planned('a', 'second')]).file).not.toBe(first.file);
});
