import { describe, expect, test } from '@jest/globals';
import { parseAddress, parseCidr } from '../../../shared/core/model/cidr';
import { diagnose } from '../../../shared/core/doctor/diagnose';
import type { Findings } from '../../../shared/core/doctor/findings';
import { PermanentError } from '../../../shared/core/model/errors';
import type { Explanation } from '../../../shared/core/explain/explanation';
import type { Node, NetworkContext } from '../../../shared/core/model/node';
import type { Outcome } from '../../../shared/core/reconcile/outcome';
import type { Check, CheckName } from '../../../shared/core/doctor/check';
import { ruleSetId } from '../../../shared/core/model/rule-set';
import { ruleSetOf } from '../model/rule-sets';

const ref = { cloud: 'gcp', project: 'shop', zone: 'europe-west1-c', id: '4711' } as const;
const node: Node = {
  ref,
  name: 'gke-1',
  clusters: ['frontend'],
  state: 'running',
  platform: 'linux',
  isControlPlane: false,
  address: parseAddress('10.209.0.2'),
};
const networkContext: NetworkContext = {
  network: 'vpc-b',
  networkRanges: [parseCidr('10.209.0.0/16')],
  podRanges: [],
  arePodsRouted: false,
  routes: [],
  discoveredKinds: [],
};
const ruleSet = ruleSetOf('source 10.132.0.0/14', 'masquerade 10.193.0.0/16 to-backend');
const plan = {
  kind: 'rule-set',
  ruleSet,
  id: ruleSetId(ruleSet),
  routes: 1,
  provenance: [],
  warnings: [],
} as const;
const proven: Outcome = { node: ref, kind: 'planned', plan, isChange: false };
const unproven: Outcome = { node: ref, kind: 'planned', plan, isChange: true };
const skipped: Outcome = {
  node: ref,
  kind: 'skipped',
  skip: { kind: 'skip', reason: 'pods-routed', detail: 'Not needed.', warnings: [] },
};

const masqueraded: Explanation = {
  masqueraded: true,
  source: '10.209.0.2',
  sources: ['10.209.0.2'],
  destinations: [{ address: '10.193.0.3', port: 443 }],
  redirectedBy: [],
  mayBeDropped: false,
  path: [],
  omitted: 0,
  cause: 'masqueraded',
  reason: 'Rule 1 of PEERMASQ masquerades it.',
  fix: null,
};
const notMasqueraded: Explanation = {
  ...masqueraded,
  masqueraded: false,
  source: '10.132.0.10',
  sources: ['10.132.0.10'],
  cause: 'no-rule',
  reason: 'No rule masquerades it.',
  fix: 'iptables -t nat -I POSTROUTING 1 -d 10.193.0.3/32 -j MASQUERADE',
};

const cloudChecks: readonly CheckName[] = [
  'peering',
  'forward-route',
  'return-route',
  'node-firewall',
  'peer-firewall',
];
const reach = (states: Partial<Record<CheckName, Check['state']>> = {}): Check[] =>
  cloudChecks.map((name) => ({
    name,
    state: states[name] ?? 'ok',
    evidence: [`about ${name}`],
    fix: `fix ${name}`,
  }));

const healthy: Findings = {
  node,
  outcome: proven,
  networkContext,
  pod: parseAddress('10.132.0.10'),
  requested: { address: parseAddress('10.193.0.3'), port: 443 },
  destination: parseAddress('10.193.0.3'),
  clusterRanges: [
    { cidr: parseCidr('10.132.0.0/14'), of: 'pods' },
    { cidr: parseCidr('10.96.0.0/12'), of: 'services' },
  ],
  rules: masqueraded,
  reach: reach(),
};

test('points at the service itself when every check passes', () => {
  const { broken, verdict, checks } = diagnose(healthy);
  expect(broken).toBeNull();
  expect(verdict).toBe('No problems found. If it still fails, check the service itself.');
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

const backfill = 'npx peermasq backfill --node 4711';
const forcedBackfill = 'npx peermasq backfill --force --node 4711';

test.each<[string, Partial<Findings>]>([
  ['a connection from the node itself', { pod: undefined as never }],
  [
    'a cluster whose pods are routed',
    {
      networkContext: { ...networkContext, networkRanges: [parseCidr('10.132.0.0/14')] },
      rules: notMasqueraded,
    },
  ],
  ['a destination that is not in the plan', { destination: parseAddress('10.209.0.9') }],
])('does not need a proof for %s', (_, findings) => {
  const { broken, checks } = diagnose({ ...healthy, outcome: unproven, ...findings });
  expect(broken).toBeNull();
  expect(checks.at(-1)).toMatchObject({ name: 'proof', state: 'not-needed' });
});

test.each([
  ['10.133.7.7', "10.133.7.7 is in 10.132.0.0/14, the cluster's pod range"],
  ['10.96.0.10', "10.96.0.10 is in 10.96.0.0/12, the cluster's service range"],
])('needs no peering for a destination inside the cluster: %s', (destination, evidence) => {
  const states = { peering: 'broken', 'forward-route': 'broken', 'return-route': 'unknown' } as const;
  const { broken, verdict, checks } = diagnose({
    ...healthy,
    destination: parseAddress(destination),
    rules: notMasqueraded,
    reach: reach(states),
  });
  expect(broken).toBeNull();
  expect(verdict).toContain(evidence);
  expect(checks.filter(({ state }) => state === 'not-needed')).toHaveLength(6);
});

test('trusts the cloud if it routes to a range that the cluster also uses', () => {
  const destination = parseAddress('10.133.7.7');
  expect(
    diagnose({ ...healthy, destination, reach: reach({ 'return-route': 'broken' }) }).broken,
  ).toMatchObject({
    name: 'return-route',
  });
});

describe('reports the first broken check with its fix', () => {
  test.each<[string, Partial<Findings>, CheckName, string | undefined]>([
    [
      'stopped node',
      { node: { ...node, state: 'stopped' }, outcome: skipped, rules: notMasqueraded },
      'node',
      'gcloud compute instances start gke-1 --zone europe-west1-c --project shop',
    ],
    [
      'peering before the routes that depend on it',
      { reach: reach({ peering: 'broken', 'forward-route': 'broken' }) },
      'peering',
      'fix peering',
    ],
    [
      'firewall before missing masquerade rules',
      { reach: reach({ 'peer-firewall': 'broken' }), rules: notMasqueraded },
      'peer-firewall',
      'fix peer-firewall',
    ],
    [
      'missing rule that a push would install',
      { rules: notMasqueraded, outcome: unproven },
      'masquerading',
      backfill,
    ],
    ['missing rule that was proven', { rules: notMasqueraded }, 'masquerading', forcedBackfill],
    [
      'connection excluded from conntrack while the rules of peermasq are in place',
      { rules: { ...notMasqueraded, cause: 'untracked', fix: 'iptables-nft -t raw -D PREROUTING 1' } },
      'masquerading',
      'iptables-nft -t raw -D PREROUTING 1',
    ],
    [
      'missing rule that is not planned',
      { rules: notMasqueraded, outcome: skipped },
      'masquerading',
      notMasqueraded.fix ?? '',
    ],
    [
      'exemption that matches first',
      {
        rules: { ...notMasqueraded, cause: 'exempt' },
        outcome: {
          ...proven,
          plan: { ...plan, ruleSet: ruleSetOf('exempt 10.193.0.0/24 except', 'masquerade 10.193.0.0/16 x') },
        },
      },
      'masquerading',
      `Remove 10.193.0.3 from the exempt ranges in peermasq.yaml (except, services), then: ${forcedBackfill}`,
    ],
    [
      'rules in the wrong backend, even if they work',
      { rules: { ...masqueraded, cause: 'wrong-backend' } },
      'masquerading',
      forcedBackfill,
    ],
    [
      'SNAT to an address outside the node network',
      { rules: { ...masqueraded, source: '192.0.2.7', sources: ['192.0.2.7'] } },
      'masquerading',
      forcedBackfill,
    ],
    ['missing proof', { outcome: unproven }, 'proof', backfill],
  ])('%s', (_, findings, name, fix) => {
    const { broken, verdict } = diagnose({ ...healthy, ...findings });
    expect(broken).toMatchObject({ name, ...(fix !== undefined && { fix }) });
    expect(verdict).toContain(`The first broken check is ${name}: `);
  });
});

describe('does not need masquerading', () => {
  test.each<[string, Partial<Findings>]>([
    [
      'for pods of a VPC-native cluster',
      { networkContext: { ...networkContext, podRanges: [parseCidr('10.132.0.0/14')], arePodsRouted: true } },
    ],
    ['for pods with an address of the node network', { pod: parseAddress('10.209.9.9') }],
  ])('%s', (_, findings) => {
    const { broken, verdict } = diagnose({
      ...healthy,
      rules: notMasqueraded,
      outcome: skipped,
      ...findings,
    });
    expect(broken).toBeNull();
    expect(verdict).toMatch(
      /^No problems found\. Masquerading is not needed: vpc-b and its peers have routes to 10\./,
    );
  });

  test('for connections from the node itself', () => {
    const fromNode: Findings = { ...healthy };
    delete (fromNode as { pod?: unknown }).pod;
    expect(diagnose({ ...fromNode, rules: notMasqueraded }).checks[6]).toMatchObject({
      name: 'masquerading',
      state: 'not-needed',
    });
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
  const { checks } = diagnose({ ...healthy, ...findings });
  expect(checks.find(({ name }) => name === 'proof')).toMatchObject({ state });
});

describe('when the node redirects the connection', () => {
  const dnat = '-A PREROUTING -d 10.193.0.3/32 -j DNAT --to-destination 10.193.0.4:5432';
  const sent = (...addresses: readonly (string | null)[]): Explanation => ({
    ...masqueraded,
    destinations: addresses.map((address) => ({ address, port: 5432 })),
    redirectedBy: [dnat],
  });

  test('shows the rule in the node check', () => {
    const { checks } = diagnose({ ...healthy, rules: sent('10.193.0.4') });
    expect(checks[0]).toMatchObject({ name: 'node', state: 'ok' });
    expect(checks[0]?.evidence[1]).toBe(`The node redirects 10.193.0.3:443 to 10.193.0.4:5432: ${dnat}`);
    expect(checks[1]).toMatchObject({ name: 'peering', state: 'ok' });
  });

  test.each([
    ['to one of several destinations', '10.193.0.4'],
    ['to an unknown destination', null],
  ])('%s, does not apply the checks of one destination to all', (_, other) => {
    const rules = sent('10.193.0.3', other);
    const { broken, checks } = diagnose({ ...healthy, rules, reach: reach({ peering: 'broken' }) });
    expect(broken).toBeNull();
    expect(checks.slice(1, 6).map(({ state }) => state)).toEqual(Array<string>(5).fill('unknown'));
  });
});

test('lists the node as not checked if a rule may drop the connection', () => {
  const reason = 'It is masqueraded. It may also be dropped: -A FORWARD -m limit --limit 1/min -j DROP.';
  const { broken, verdict, checks } = diagnose({
    ...healthy,
    rules: { ...masqueraded, mayBeDropped: true, reason },
  });
  expect(broken).toBeNull();
  expect(verdict).toContain('Could not check: node');
  expect(checks[0]).toMatchObject({ name: 'node', state: 'unknown', evidence: [reason, expect.any(String)] });
});

test('lists unreadable checks with the command that shows the data', () => {
  const rules = new PermanentError('no-watcher', 'The node does not answer', 'gcloud compute ssh gke-1');
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
