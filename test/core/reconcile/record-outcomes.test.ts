import { expect, test } from '@jest/globals';
import { PermanentError, RetryableError } from '../../../shared/core/model/errors';
import type { Node } from '../../../shared/core/model/node';
import type { Channel, PushRecord, ProofResult, RecordFailure } from '../../../shared/core/cloud';
import type { Log } from '../../../shared/core/log';
import type { Report } from '../../../shared/core/model/report';
import { recordOutcomes } from '../../../shared/core/reconcile/evaluate-report';
import { pushRuleSets } from '../../../shared/core/reconcile/push';
import { makeReport } from '../../lab/node-report';

const id = 'a'.repeat(64);
const older = 'b'.repeat(64);
const node: Node = {
  ref: { cloud: 'aws', account: '111122223333', region: 'eu-west-1', id: 'i-1' },
  name: 'one',
  clusters: ['shop'],
  state: 'running',
  platform: 'linux',
  isControlPlane: false,
  recorded: { ruleSetId: older, isProven: true, routes: 7 },
};

const reported = (changes: Partial<Report>): ProofResult => ({
  result: 'reported',
  node,
  report: makeReport(undefined, { id, generation: 5, ...changes }),
});

async function run(proof: ProofResult, recordFailures: readonly RecordFailure[] = []) {
  const records: PushRecord[] = [];
  const warned: string[] = [];
  const writeRecords: Channel['writeRecords'] = (some) => {
    records.push(...some);
    return Promise.resolve(recordFailures);
  };
  const fail = () => Promise.reject(new Error('unexpected call'));
  const ignore = () => undefined;
  const log: Log = { info: ignore, error: ignore, warn: (event) => warned.push(event) };
  const responses = {
    proof,
    expected: { id, generation: 5, format: 2, warnings: [] } as const,
    cluster: 'shop',
    routes: 3,
  };
  const { outcomes, errors } = await recordOutcomes([responses], {
    channel: { checkReadiness: () => undefined, push: fail, collectProofs: fail, writeRecords },
    log,
    deadline: Infinity,
  });
  return { outcomes, kinds: outcomes.map(({ kind }) => kind), records, warned, errors };
}

const failed: ProofResult = {
  result: 'failed',
  node,
  error: new PermanentError('no-report', 'none', { advice: 'look' }),
};
const silent: ProofResult = { result: 'no-report', node, reason: 'no answer', retryAfterSeconds: 10 };

test.each<[string, ProofResult, Omit<PushRecord, 'node'>]>([
  ['proven', reported({}), { state: 'proven', ruleSetId: id, routes: 3 }],
  ['unchanged', reported({ result: 'unchanged' }), { state: 'proven', ruleSetId: id, routes: 3 }],
  ['not proven', reported({ proven: false }), { state: 'failed', ruleSetId: id, routes: 3 }],
  ['refused', reported({ result: 'refused', generation: 4, format: 2 }), { state: 'failed', routes: 7 }],
  // The earlier rules are still in force, so their route count is kept.
  ['not applied', reported({ result: 'failed', proven: false }), { state: 'failed', routes: 7 }],
  ['failed, without a report', failed, { state: 'failed', routes: 7 }],
])('the outcome of a push is recorded when the push was %s', async (_, proof, record) => {
  const { kinds, records } = await run(proof);
  expect(kinds).toEqual([record.state]);
  expect(records).toEqual([{ node, ...record }]);
});

test.each([
  ['is busy', reported({ result: 'busy', proven: false })],
  ['has rules in force that are newer than the pushed rules', reported({ result: 'refused', generation: 6 })],
  [
    "still runs a program that cannot read the rule set's format",
    reported({ result: 'refused', generation: 4, format: 1 }),
  ],
  ['applied the rule set with an outdated program, whose report proves less', reported({ format: 1 })],
  ['has not reported yet', silent],
])('nothing is recorded for a node that %s', async (_, proof) => {
  const { kinds, records } = await run(proof);
  expect(kinds).toEqual(['pending']);
  expect(records).toEqual([]);
});

const inTenDays = 5 + 864_000_000;

test.each<[string, Partial<Report>, { readonly type: unknown; readonly advice: string }]>([
  [
    'has a rule set from the future in force',
    { generation: inTenDays },
    { type: PermanentError, advice: "sed -i '2s/.*/generation 1/'" },
  ],
  [
    'refuses the rule set as from the future',
    { generation: 4, code: 'clock-skew' },
    { type: RetryableError, advice: 'chronyc' },
  ],
  [
    'refuses its first rule set as from the future',
    { generation: null, code: 'clock-skew' },
    { type: RetryableError, advice: 'chronyc' },
  ],
])('a push fails with clock-skew if the node %s', async (_, changes, { type, advice }) => {
  const { outcomes, records } = await run(reported({ result: 'refused', proven: false, ...changes }));
  const [error] = outcomes.map((outcome) => (outcome.kind === 'failed' ? outcome.error : undefined));
  expect(error).toMatchObject({
    constructor: type,
    code: 'clock-skew',
    advice: expect.stringContaining(advice),
  });
  expect(records).toEqual([{ node, state: 'failed', code: 'clock-skew', routes: 7 }]);
});

test('a push that the cloud refuses because of clock-skew is recorded, and other failed pushes are not', async () => {
  const records: PushRecord[] = [];
  const errors = ['clock-skew', 'metadata-too-large'].map(
    (code) => new PermanentError(code, 'no', { advice: 'look' }),
  );
  const channel: Channel = {
    checkReadiness: () => undefined,
    push: () => Promise.resolve(errors.map((error) => ({ result: 'failed', node, error }))),
    collectProofs: () => Promise.reject(new Error('unexpected call')),
    writeRecords: (some) => Promise.resolve(records.push(...some)).then(() => []),
  };
  const ignore = () => undefined;
  const log: Log = { info: ignore, error: ignore, warn: ignore };
  const ruleSet = {
    generation: 5,
    randomFully: false,
    sources: [],
    exemptions: [],
    destinations: [],
    probes: [],
  };
  const plan = { kind: 'rule-set', ruleSet, id, routes: 3, provenance: [], warnings: [] } as const;
  const { outcomes } = await pushRuleSets([{ node, cluster: 'shop', plan }], {
    channel,
    log,
    deadline: Infinity,
  });
  expect(outcomes.map(({ kind }) => kind)).toEqual(['failed', 'failed']);
  expect(records).toEqual([{ node, state: 'failed', code: 'clock-skew', routes: 7 }]);
});

test('a proven rule set from the future is a warning', async () => {
  const { outcomes } = await run(reported({ generation: inTenDays }));
  expect(outcomes).toEqual([
    expect.objectContaining({ kind: 'proven', warnings: [expect.objectContaining({ code: 'clock-skew' })] }),
  ]);
});

test('an outcome that cannot be recorded is logged, and the result stays the same', async () => {
  const error = new RetryableError('throttled', 'too many calls', { advice: 'wait', retryAfterSeconds: 10 });
  const { kinds, warned } = await run(reported({}), [{ node, error }]);
  expect(kinds).toEqual(['proven']);
  expect(warned).toEqual(['RecordFailed']);
});

test.each<[string | undefined, 'retried' | 'final', string]>([
  [undefined, 'retried', 'If a probe failed: Check firewalls'],
  ['a-later-code', 'retried', 'If a probe failed: Check firewalls'],
  ['probe-failed', 'retried', 'Check firewalls'],
  ['probe-unknown', 'retried', 'network policies, sidecars'],
  ['paths-foreign-address', 'retried', 'leaves through an interface whose address the peer cannot reply to'],
  ['paths-unknown', 'retried', 'Run `peermasq explain`'],
  ['no-forwarding', 'retried', 'net.ipv4.ip_forward'],
  ['rp-filter', 'retried', 'rp_filter to 2'],
  ['drift', 'retried', 'Another program changes the rules'],
  ['ebpf', 'final', 'nonMasqueradeCIDRs'],
  ['ebpf-unreadable', 'final', 'Check whether a CNI plugin masquerades in eBPF'],
  ['no-namespace', 'final', 'nsenter'],
  ['steering-bypassed', 'final', 'Install nft'],
])(
  'if the node reports the code %s, unproven rules are %s, and the error has advice',
  async (code, end, advice) => {
    const { outcomes } = await run(reported({ proven: false, reason: 'why', code }));
    const [error] = outcomes.map((outcome) => (outcome.kind === 'failed' ? outcome.error : undefined));
    expect(error).toBeInstanceOf(end === 'final' ? PermanentError : RetryableError);
    expect(error).toMatchObject({ code: 'not-proven', message: 'The rules are applied but not proven: why' });
    expect(error?.advice).toContain(advice);
  },
);
