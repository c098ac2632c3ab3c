import { expect, test } from '@jest/globals';
import { parseAddress, parseCidr } from '../../../shared/core/model/cidr';
import { diagnose } from '../../../shared/core/doctor/diagnose';
import type { Findings } from '../../../shared/core/doctor/findings';
import type { Cause } from '../../../shared/core/explain/explanation';
import { checkNamed, fromNode, healthy, networkContext, notMasqueraded, skipped } from './findings';

test.each<[string, Partial<Findings>]>([
  [
    'pods of a VPC-native cluster',
    {
      networkContext: {
        ...networkContext,
        podRanges: [parseCidr('10.132.0.0/14')],
        routedPodRanges: [parseCidr('10.132.0.0/14')],
      },
    },
  ],
  ['pods with an address of the node network', { pod: parseAddress('10.209.9.9') }],
])('is not needed for %s', (_, findings) => {
  const { broken, verdict } = diagnose({ ...healthy, rules: notMasqueraded, outcome: skipped, ...findings });
  expect(broken).toBeNull();
  expect(verdict).toMatch(
    /^No problems found\. Masquerading is not needed: vpc-b and its peers have routes to 10\./,
  );
});

test('is not needed for a connection from the node itself', () => {
  const { checks } = diagnose({ ...fromNode, rules: notMasqueraded });
  expect(checkNamed(checks, 'masquerading')).toMatchObject({
    state: 'not-needed',
    evidence: ['The connection starts on the node and uses its address.'],
  });
});

test.each<[Cause, string]>([
  ['dropped', 'Not reached: dropped earlier. -A FORWARD -j DROP.'],
  ['stays-on-node', 'Not reached: the packet stays on the node. -A FORWARD -j DROP.'],
])('is unknown for a packet that does not leave the node: %s', (cause, evidence) => {
  const rules = { ...notMasqueraded, sources: [], cause, reason: '-A FORWARD -j DROP.' };
  const { checks } = diagnose({ ...healthy, rules });
  expect(checkNamed(checks, 'masquerading')).toMatchObject({ state: 'unknown', evidence: [evidence] });
});

test('is unknown if return traffic reaches only some of the possible source addresses', () => {
  const rules = { ...notMasqueraded, masqueraded: true, sources: ['10.209.0.2', '192.0.2.7'] };
  const { checks } = diagnose({ ...healthy, rules });
  expect(checkNamed(checks, 'masquerading')).toMatchObject({ state: 'unknown' });
});
