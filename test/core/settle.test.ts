import { expect, test } from '@jest/globals';
import { PermanentError, RetryableError } from '../../shared/core/errors';
import type { Node } from '../../shared/core/node';
import type { Channel, End, Log, Proof, Unrecorded } from '../../shared/core/ports';
import type { Report } from '../../shared/core/report';
import { settle } from '../../shared/core/settle';
import { reportOf } from '../lab/report';

const [id, older] = ['a'.repeat(64), 'b'.repeat(64)];
const node: Node = {
  ref: { cloud: 'aws', account: '111122223333', region: 'eu-west-1', id: 'i-1' },
  name: 'one',
  clusters: ['shop'],
  state: 'running',
  platform: 'linux',
  isControlPlane: false,
  recorded: { ruleSetId: older, isProven: true, routes: 7 },
};

const reported = (changes: Partial<Report>): Proof => ({
  result: 'reported',
  node,
  report: reportOf(undefined, { id, generation: 5, ...changes }),
});

async function settled(proof: Proof, unrecorded: readonly Unrecorded[] = []) {
  const ends: End[] = [];
  const warned: string[] = [];
  const remember: Channel['remember'] = (some) => {
    ends.push(...some);
    return Promise.resolve(unrecorded);
  };
  const fail = () => Promise.reject(new Error('not to be called'));
  const say = () => undefined;
  const log: Log = { info: say, error: say, warn: (event) => warned.push(event) };
  const returned = { proof, meant: { id, generation: 5, warnings: [] }, cluster: 'shop', routes: 3 };
  const { outcomes, faults } = await settle(
    [returned],
    { notYet: () => undefined, push: fail, proofs: fail, remember },
    log,
    Infinity,
  );
  return { kinds: outcomes.map(({ kind }) => kind), ends, warned, faults };
}

const failed: Proof = { result: 'failed', node, error: new PermanentError('no-report', 'none', 'look') };
const silent: Proof = { result: 'silent', node, reason: 'no answer', retryAfterSeconds: 10 };

test.each<[string, Proof, string, Omit<End, 'node'> | undefined]>([
  ['proven', reported({}), 'proven', { state: 'proven', ruleSetId: id, routes: 3 }],
  ['unchanged', reported({ result: 'unchanged' }), 'proven', { state: 'proven', ruleSetId: id, routes: 3 }],
  ['not proven', reported({ proven: false }), 'failed', { state: 'failed', ruleSetId: id, routes: 3 }],
  // What is in force is what was, made from as many routes as then.
  ['not applied', reported({ result: 'failed', proven: false }), 'failed', { state: 'failed', routes: 7 }],
  ['no report', failed, 'failed', { state: 'failed', routes: 7 }],
  ['busy', reported({ result: 'busy', proven: false }), 'pending', undefined],
  ['newer rules', reported({ result: 'refused', generation: 6 }), 'pending', undefined],
  ['no answer', silent, 'pending', undefined],
])('%s: what is remembered', async (_, proof, kind, end) => {
  const { kinds, ends } = await settled(proof);
  expect(kinds).toEqual([kind]);
  expect(ends).toEqual(end ? [{ node, ...end }] : []);
});

test('a record that cannot be written is told, and changes nothing of what became of the node', async () => {
  const error = new RetryableError('throttled', 'too many calls', 'wait', 10);
  const { kinds, warned } = await settled(reported({}), [{ node, error }]);
  expect(kinds).toEqual(['proven']);
  expect(warned).toEqual(['RecordFailed']);
});
