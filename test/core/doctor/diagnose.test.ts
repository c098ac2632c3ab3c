import { describe, expect, test } from '@jest/globals';
import { parseAddress } from '../../../shared/core/model/cidr';
import { diagnose } from '../../../shared/core/doctor/diagnose';
import type { Findings } from '../../../shared/core/doctor/findings';
import { PermanentError } from '../../../shared/core/model/errors';
import type { Explanation } from '../../../shared/core/explain/explanation';
import type { CheckName } from '../../../shared/core/doctor/check';
import { ruleSetOf } from '../model/rule-sets';
import {
  backfill,
  decisionFor,
  forcedBackfill,
  healthy,
  masqueraded,
  node,
  notMasqueraded,
  plan,
  proven,
  reach,
  skipped,
  unproven,
} from './findings';

test('doctor suggests checking the service itself when every check passes', () => {
  const { broken, verdict, checks } = diagnose(healthy);
  expect(broken).toBeNull();
  expect(verdict).toBe('No problems found. If the connection still fails, check the service itself.');
  expect(checks.map(({ name, state }) => `${name} ${state}`)).toEqual([
    'node ok',
    'peering ok',
    'forward-route ok',
    'return-route ok',
    'node-firewall ok',
    'peer-firewall ok',
    'masquerading ok',
    'proof ok',
  ]);
});

test.each([
  [
    '10.133.7.7',
    "10.133.7.7 is in 10.132.0.0/14, the cluster's pod range, and is routed inside the cluster.",
  ],
  [
    '10.96.0.10',
    "10.96.0.10 is in 10.96.0.0/12, the cluster's service range, and is routed inside the cluster.",
  ],
])('a destination inside the cluster needs no peering: %s', (destination, evidence) => {
  const states = { peering: 'broken', 'forward-route': 'broken', 'return-route': 'unknown' } as const;
  const { broken, verdict, checks } = diagnose({
    ...healthy,
    destination: parseAddress(destination),
    decision: decisionFor({ destination }),
    rules: notMasqueraded,
    reach: reach(states),
  });
  expect(broken).toBeNull();
  expect(verdict).toContain(evidence);
  expect(checks.filter(({ state }) => state === 'not-needed')).toHaveLength(6);
});

test("the cloud's checks are used if the cloud has a route to a range that the cluster also uses", () => {
  const destination = parseAddress('10.133.7.7');
  const { broken } = diagnose({ ...healthy, destination, reach: reach({ 'return-route': 'broken' }) });
  expect(broken).toMatchObject({ name: 'return-route' });
});

interface Expected {
  readonly name: CheckName;
  readonly fix: string;
}

describe('the first broken check is reported with its fix:', () => {
  test.each<[string, Partial<Findings>, Expected]>([
    [
      'a stopped node',
      { node: { ...node, state: 'stopped' }, outcome: skipped, rules: notMasqueraded },
      { name: 'node', fix: 'gcloud compute instances start gke-1 --zone europe-west1-c --project shop' },
    ],
    [
      'a broken peering before the routes that depend on the peering',
      { reach: reach({ peering: 'broken', 'forward-route': 'broken' }) },
      { name: 'peering', fix: 'fix peering' },
    ],
    [
      'a blocking firewall before missing masquerade rules',
      { reach: reach({ 'peer-firewall': 'broken' }), rules: notMasqueraded },
      { name: 'peer-firewall', fix: 'fix peer-firewall' },
    ],
    [
      'a missing rule that a push would install',
      { rules: notMasqueraded, outcome: unproven },
      { name: 'masquerading', fix: backfill },
    ],
    [
      'a missing rule that was proven before',
      { rules: notMasqueraded },
      { name: 'masquerading', fix: forcedBackfill },
    ],
    [
      "a connection excluded from conntrack while peermasq's rules are in place",
      { rules: { ...notMasqueraded, cause: 'untracked', fix: 'iptables-nft -t raw -D PREROUTING 1' } },
      { name: 'masquerading', fix: 'iptables-nft -t raw -D PREROUTING 1' },
    ],
    [
      'a missing rule that is not in the plan',
      { rules: notMasqueraded, outcome: skipped },
      { name: 'masquerading', fix: notMasqueraded.fix ?? '' },
    ],
    [
      'a pod outside the sources of the planned rule set',
      { pod: parseAddress('10.200.0.9'), rules: notMasqueraded },
      {
        name: 'masquerading',
        fix: `Add the range of 10.200.0.9 to the cluster's pods in peermasq.yaml, then: ${forcedBackfill}`,
      },
    ],
    [
      'an exemption that matches first',
      {
        rules: { ...notMasqueraded, cause: 'exempt' },
        outcome: {
          ...proven,
          plan: { ...plan, ruleSet: ruleSetOf('exempt 10.193.0.0/24 except', 'masquerade 10.193.0.0/16 x') },
        },
      },
      {
        name: 'masquerading',
        fix: `Remove 10.193.0.3 from the exempt ranges in peermasq.yaml (except, services), then: ${forcedBackfill}`,
      },
    ],
    [
      'rules in the wrong backend, even if the rules work',
      { rules: { ...masqueraded, cause: 'wrong-backend' } },
      { name: 'masquerading', fix: forcedBackfill },
    ],
    [
      "SNAT to an address outside the node's network",
      { rules: { ...masqueraded, source: '192.0.2.7', sources: ['192.0.2.7'] } },
      { name: 'masquerading', fix: forcedBackfill },
    ],
    ['a missing proof', { outcome: unproven }, { name: 'proof', fix: backfill }],
  ])('%s', (_, findings, expected) => {
    const { broken, verdict } = diagnose({ ...healthy, ...findings });
    expect(broken).toMatchObject(expected);
    expect(verdict).toContain(`The first broken check is ${expected.name}: `);
  });
});

describe('when the node redirects the connection, doctor', () => {
  const dnat = '-A PREROUTING -d 10.193.0.3/32 -j DNAT --to-destination 10.193.0.4:5432';
  const redirectedTo = (...addresses: readonly (string | null)[]): Explanation => ({
    ...masqueraded,
    destinations: addresses.map((address) => ({ address, port: 5432 })),
    redirectedBy: [dnat],
  });

  test('shows the redirecting rule in the node check', () => {
    const { checks } = diagnose({ ...healthy, rules: redirectedTo('10.193.0.4') });
    expect(checks[0]).toMatchObject({ name: 'node', state: 'ok' });
    expect(checks[0]?.evidence[1]).toBe(`The node redirects 10.193.0.3:443 to 10.193.0.4:5432: ${dnat}`);
    expect(checks[1]).toMatchObject({ name: 'peering', state: 'ok' });
  });

  test.each([
    ['one of several destinations', '10.193.0.4'],
    ['an unknown destination', null],
  ])('reports the checks of the path as unknown for %s', (_, other) => {
    const rules = redirectedTo('10.193.0.3', other);
    const { broken, checks } = diagnose({ ...healthy, rules, reach: reach({ peering: 'broken' }) });
    expect(broken).toBeNull();
    expect(checks.slice(1, 6).map(({ state }) => state)).toEqual(Array<string>(5).fill('unknown'));
  });
});

test('doctor lists the node check as unknown if a rule may drop the connection', () => {
  const reason = 'It is masqueraded. It may also be dropped: -A FORWARD -m limit --limit 1/min -j DROP.';
  const { broken, verdict, checks } = diagnose({
    ...healthy,
    rules: { ...masqueraded, mayBeDropped: true, reason },
  });
  expect(broken).toBeNull();
  expect(verdict).toContain('Could not check: node');
  expect(checks[0]).toMatchObject({
    name: 'node',
    state: 'unknown',
    evidence: [reason, 'gke-1 (4711, cluster frontend) is running.'],
  });
});

test('doctor lists checks that could not be made, with the command that shows the missing data', () => {
  const rules = new PermanentError('no-watcher', 'The node does not answer', {
    advice: 'gcloud compute ssh gke-1',
  });
  const { broken, verdict, checks } = diagnose({
    ...healthy,
    rules,
    reach: reach({ 'return-route': 'unknown' }),
  });
  expect(broken).toBeNull();
  expect(verdict).toBe('No problems found. Could not check: return-route, masquerading.');
  expect(checks[6]).toMatchObject({
    state: 'unknown',
    evidence: ['The node does not answer'],
    fix: 'gcloud compute ssh gke-1',
  });
});
