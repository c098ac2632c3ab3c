import { expect, test } from '@jest/globals';
import { decideByReturnRoute, type Decision } from '../../../shared/core/masquerading/decision';
import { diagnose } from '../../../shared/core/doctor/diagnose';
import type { Cause } from '../../../shared/core/explain/explanation';
import { checkNamed, decisionFor, fromNode, healthy, notMasqueraded, skipped, vpcNative } from './findings';

const okRoute = { state: 'ok', evidence: ['rtb-1 routes 10.132.0.0/16 to pcx-1.'] } as const;

test.each<[string, Decision, string]>([
  [
    'pods of a VPC-native cluster',
    decisionFor({ ...vpcNative, masquerade: 'peerings' }),
    'Peer to-backend has routes to 10.132.0.10: its subnet 10.193.0.0/16 and 10.132.0.0/14 are exchanged over the peering.',
  ],
  [
    'pods that return traffic can reach',
    decideByReturnRoute(decisionFor({ masquerade: '' }), { pod: okRoute, node: okRoute }),
    'rtb-1 routes 10.132.0.0/16 to pcx-1.',
  ],
])('masquerading is not needed for %s', (_, decision, evidence) => {
  const { broken, verdict } = diagnose({ ...healthy, rules: notMasqueraded, outcome: skipped, decision });
  expect(broken).toBeNull();
  expect(verdict).toContain(`No problems found. Masquerading is not needed: ${evidence}`);
});

test('masquerading is not needed for a connection from the node itself', () => {
  const { checks } = diagnose({ ...fromNode, rules: notMasqueraded });
  expect(checkNamed(checks, 'masquerading')).toMatchObject({
    state: 'not-needed',
    evidence: ['The connection starts on the node and uses its address.'],
  });
});

test.each<[Cause, string]>([
  ['dropped', 'Not reached: dropped earlier. -A FORWARD -j DROP.'],
  ['stays-on-node', 'Not reached: the packet stays on the node. -A FORWARD -j DROP.'],
])('it is unknown whether a packet that does not leave the node is masqueraded: %s', (cause, evidence) => {
  const rules = { ...notMasqueraded, sources: [], cause, reason: '-A FORWARD -j DROP.' };
  const { checks } = diagnose({ ...healthy, rules });
  expect(checkNamed(checks, 'masquerading')).toMatchObject({ state: 'unknown', evidence: [evidence] });
});

test('masquerading is unknown if return traffic can reach only some of the possible source addresses', () => {
  const rules = { ...notMasqueraded, masqueraded: true, sources: ['10.209.0.2', '192.0.2.7'] };
  const { checks } = diagnose({ ...healthy, rules });
  expect(checkNamed(checks, 'masquerading')).toMatchObject({ state: 'unknown' });
});
