import { describe, expect, test } from '@jest/globals';
import { parseAddress } from '../../../shared/core/model/cidr';
import type { Check } from '../../../shared/core/doctor/check';
import { diagnose } from '../../../shared/core/doctor/diagnose';
import type { Findings } from '../../../shared/core/doctor/findings';
import type { Node } from '../../../shared/core/model/node';
import {
  checkNamed,
  decisionFor,
  fromNode,
  healthy,
  node,
  notMasqueraded,
  plan,
  unproven,
  vpcNative,
} from './findings';

const proofOf = (findings: Findings) => checkNamed(diagnose(findings).checks, 'proof');

test.each<[string, Findings]>([
  ['a connection from the node itself', fromNode],
  [
    'pods that are routed',
    {
      ...healthy,
      decision: decisionFor({ ...vpcNative, masquerade: 'peerings' }),
      rules: notMasqueraded,
    },
  ],
  ['a destination that is not in the plan', { ...healthy, destination: parseAddress('10.209.0.9') }],
])('the proof is not needed for %s', (_, findings) => {
  const { broken } = diagnose({ ...findings, outcome: unproven });
  expect(broken).toBeNull();
  expect(proofOf({ ...findings, outcome: unproven })).toMatchObject({
    state: 'not-needed',
    evidence: [
      'This connection does not need the planned rule set.',
      expect.stringContaining('Expected rule set '),
    ],
  });
});

test.each<[string, Check['state'], Partial<Findings>]>([
  ['is missing', 'broken', { rules: notMasqueraded }],
  ['comes after another rule', 'broken', { rules: { ...notMasqueraded, cause: 'shadowed' } }],
  [
    'is not reached because the connection is untracked',
    'ok',
    { rules: { ...notMasqueraded, cause: 'untracked' } },
  ],
  ['does not cover the destination', 'ok', { rules: notMasqueraded, destination: parseAddress('10.77.0.3') }],
])('if the proven rule %s, the proof is %s', (_, state, findings) => {
  expect(proofOf({ ...healthy, ...findings })).toMatchObject({ state });
});

describe('the evidence of the proof check', () => {
  const at = new Date('2026-11-22T12:06:59.924Z');
  const expected = `Expected rule set ${plan.id.slice(0, 12)}; the node has`;
  const recorded = (ruleSetId: string): Pick<Node, 'recorded'> => ({
    recorded: { ruleSetId, isProven: true, at },
  });

  test.each<[string, Partial<Node>, string]>([
    ['says that the node has proven no rule set', {}, `${expected} not confirmed any.`],
    [
      'says that the last push failed',
      { ...recorded(plan.id), lastPush: { state: 'failed', at } },
      `${expected} not confirmed it. Last push: failed at 2026-11-22T12:06:59.924Z.`,
    ],
    [
      'says why the last push failed',
      { ...recorded('0123456789abcdef'), lastPush: { state: 'failed', at, code: 'clock-skew' } },
      `${expected} 0123456789ab. Last push: failed (clock-skew) at 2026-11-22T12:06:59.924Z.`,
    ],
    [
      'names the rule set that the node has proven instead',
      recorded('0123456789abcdef'),
      `${expected} 0123456789ab.`,
    ],
  ])('%s', (_, record, evidence) => {
    const findings = { ...healthy, node: { ...node, ...record }, outcome: unproven };
    expect(proofOf(findings)).toMatchObject({ state: 'broken', evidence: [evidence] });
  });

  test('contains the time at which the expected rule set was proven', () => {
    const findings = { ...healthy, node: { ...node, ...recorded(plan.id) } };
    expect(proofOf(findings)).toMatchObject({
      state: 'ok',
      evidence: [`The node proved rule set ${plan.id.slice(0, 12)} at 2026-11-22T12:06:59.924Z.`],
    });
  });
});
