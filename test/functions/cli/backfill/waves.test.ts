import { describe, expect, test } from '@jest/globals';
import { runInWaves, type WaveProgress } from '../../../../functions/cli/backfill/waves';
import type { PlannedChange } from '../../../../functions/cli/plan';
import { PermanentError } from '../../../../shared/core/model/errors';
import type { NodeRef } from '../../../../shared/core/model/node';
import type { Outcome } from '../../../../shared/core/reconcile/outcome';

const refOf = (id: string) => ({ cloud: 'aws', account: '123456789012', region: 'us-east-1', id }) as const;
const nodes = (n: number): PlannedChange[] =>
  Array.from(
    { length: n },
    (_, index) => ({ node: { ref: refOf(`i-${index + 1}`) } }) as unknown as PlannedChange,
  );

const error = new PermanentError('refused', 'no', 'Mend it.');
const outcomeOf: Record<'proven' | 'failed' | 'pending' | 'needs-reboot', (node: NodeRef) => Outcome> = {
  proven: (node) => ({ node, kind: 'proven', ruleSetId: 'a', warnings: [] }),
  failed: (node) => ({ node, kind: 'failed', error }),
  pending: (node) => ({ node, kind: 'pending', reason: 'its agent is not online', retryAfterSeconds: 7 }),
  'needs-reboot': (node) => ({ node, kind: 'needs-reboot', reason: 'late', restart: 'advised' }),
};

/** Pushes to nodes that end as `fates` says, `proven` unless told. @returns the waves, and what was left */
async function runWaves(
  n: number,
  options: { canary?: number; wave?: number; maxFailures?: number },
  endings: Record<number, keyof typeof outcomeOf> = {},
  stopAfter = Infinity,
) {
  const waves: string[][] = [];
  const push = ({ nodes: some }: WaveProgress) => {
    waves.push(some.map(({ node }) => node.ref.id));
    return Promise.resolve(
      some.map(({ node: { ref } }) => {
        const ending = endings[Number(ref.id.slice(2))] ?? 'proven';
        return outcomeOf[ending](ref);
      }),
    );
  };
  const settings = { canary: 1, wave: 2, maxFailures: 0, ...options };
  const { untouched, stopReason } = await runInWaves(
    nodes(n),
    settings,
    push,
    () => waves.length >= stopAfter,
  );
  return { waves: waves.map((ids) => ids.join(' ')), untouched: untouched.length, stopReason };
}

test('canaries go first, alone; the others follow a wave at a time', async () => {
  expect(await runWaves(5, { canary: 1, wave: 2 })).toEqual({
    waves: ['i-1', 'i-2 i-3', 'i-4 i-5'],
    untouched: 0,
  });
  expect(await runWaves(3, { canary: 0, wave: 50 })).toEqual({ waves: ['i-1 i-2 i-3'], untouched: 0 });
  expect(await runWaves(2, { canary: 5, wave: 50 })).toEqual({ waves: ['i-1 i-2'], untouched: 0 });
  expect(await runWaves(0, {})).toEqual({ waves: [], untouched: 0 });
});

describe('what stops further waves', () => {
  test.each([
    ['a canary that fails', {}, { 1: 'failed' }, ['i-1'], 4, 'the canary aws:i-1 is failed'],
    ['a canary that is not heard of', {}, { 1: 'pending' }, ['i-1'], 4, 'the canary aws:i-1 is pending'],
    ['more failures than may be', {}, { 3: 'failed' }, ['i-1', 'i-2 i-3'], 2, '1 failed, where 0 may'],
    [
      'failures of several waves together',
      { maxFailures: 1, wave: 1 },
      { 2: 'failed', 3: 'failed' },
      ['i-1', 'i-2', 'i-3'],
      2,
      '2 failed, where 1 may',
    ],
  ] as const)('%s', async (_, options, endings, waves, untouched, stopReason) => {
    expect(await runWaves(5, options, endings)).toEqual({ waves, untouched, stopReason });
  });

  test('an interruption, after the wave under way', async () => {
    expect(await runWaves(5, {}, {}, 2)).toEqual({
      waves: ['i-1', 'i-2 i-3'],
      untouched: 2,
      stopReason: 'it was interrupted',
    });
  });
});

test('what does not stop them: failures that may be, nodes that are not ready, nodes that need a reboot', async () => {
  const endings = { 1: 'needs-reboot', 2: 'failed', 3: 'pending' } as const;
  expect(await runWaves(5, { maxFailures: 1 }, endings)).toEqual({
    waves: ['i-1', 'i-2 i-3', 'i-4 i-5'],
    untouched: 0,
  });
});
