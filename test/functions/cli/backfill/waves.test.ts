import { describe, expect, test } from '@jest/globals';
import { runInWaves, type Wave } from '../../../../functions/cli/backfill/waves';
import type { PlannedChange } from '../../../../functions/cli/dry-run';
import { PermanentError } from '../../../../shared/core/model/errors';
import type { NodeRef } from '../../../../shared/core/model/node';
import type { Outcome } from '../../../../shared/core/reconcile/outcome';

const refOf = (id: string) => ({ cloud: 'aws', account: '123456789012', region: 'us-east-1', id }) as const;
const makeNodes = (n: number): PlannedChange[] =>
  Array.from(
    { length: n },
    (_, index) => ({ node: { ref: refOf(`i-${index + 1}`) } }) as unknown as PlannedChange,
  );

const error = new PermanentError('refused', 'The node refused the rule set', { advice: 'Check the node.' });
const outcomeOf: Record<'proven' | 'failed' | 'pending' | 'needs-reboot', (node: NodeRef) => Outcome> = {
  proven: (node) => ({ node, kind: 'proven', ruleSetId: 'a', warnings: [] }),
  failed: (node) => ({ node, kind: 'failed', error }),
  pending: (node) => ({ node, kind: 'pending', reason: 'its agent is offline', retryAfterSeconds: 7 }),
  'needs-reboot': (node) => ({ node, kind: 'needs-reboot', reason: 'booted too early', restart: 'advised' }),
};

interface RunOptions {
  readonly canary?: number;
  readonly wave?: number;
  readonly maxFailures?: number;
  /** The outcomes by node number. Nodes without an entry are proven. */
  readonly outcomes?: Record<number, keyof typeof outcomeOf>;
  readonly interruptAfterWave?: number;
}

async function runWaves(
  n: number,
  { outcomes = {}, interruptAfterWave = Infinity, ...waveOptions }: RunOptions,
) {
  const waves: string[][] = [];
  const push = ({ nodes }: Wave) => {
    waves.push(nodes.map(({ node }) => node.ref.id));
    return Promise.resolve(
      nodes.map(({ node: { ref } }) => outcomeOf[outcomes[Number(ref.id.slice(2))] ?? 'proven'](ref)),
    );
  };
  const { untouched, stopReason } = await runInWaves(
    makeNodes(n),
    { canary: 1, wave: 2, maxFailures: 0, ...waveOptions },
    { push, isInterrupted: () => waves.length >= interruptAfterWave },
  );
  return { waves: waves.map((ids) => ids.join(' ')), untouched: untouched.length, stopReason };
}

test.each([
  ['the canary first, then waves of the given size', 5, {}, ['i-1', 'i-2 i-3', 'i-4 i-5']],
  ['no canary wave with --canary 0', 3, { canary: 0, wave: 50 }, ['i-1 i-2 i-3']],
  ['only a canary wave if it can hold all nodes', 2, { canary: 5, wave: 50 }, ['i-1 i-2']],
  ['no wave if there are no nodes', 0, {}, []],
] as const)('runInWaves pushes in waves: %s', async (_, n, options, waves) => {
  expect(await runWaves(n, options)).toEqual({ waves, untouched: 0 });
});

describe('runInWaves stops', () => {
  test.each([
    ['after a failed canary', { outcomes: { 1: 'failed' } }, ['i-1'], 4, 'canary aws:i-1 is failed'],
    ['after a pending canary', { outcomes: { 1: 'pending' } }, ['i-1'], 4, 'canary aws:i-1 is pending'],
    [
      'if a wave has more failures than allowed',
      { outcomes: { 3: 'failed' } },
      ['i-1', 'i-2 i-3'],
      2,
      '1 failed, --max-failures is 0',
    ],
    [
      'if several waves together have more failures than allowed',
      { maxFailures: 1, wave: 1, outcomes: { 2: 'failed', 3: 'failed' } },
      ['i-1', 'i-2', 'i-3'],
      2,
      '2 failed, --max-failures is 1',
    ],
    [
      'after the current wave when it is interrupted',
      { interruptAfterWave: 2 },
      ['i-1', 'i-2 i-3'],
      2,
      'interrupted',
    ],
  ] as const)('%s', async (_, options, waves, untouched, stopReason) => {
    expect(await runWaves(5, options)).toEqual({ waves, untouched, stopReason });
  });
});

test('runInWaves continues if nodes are pending or need a reboot, or if no more nodes fail than allowed', async () => {
  const outcomes = { 1: 'needs-reboot', 2: 'failed', 3: 'pending' } as const;
  expect(await runWaves(5, { maxFailures: 1, outcomes })).toEqual({
    waves: ['i-1', 'i-2 i-3', 'i-4 i-5'],
    untouched: 0,
  });
});
