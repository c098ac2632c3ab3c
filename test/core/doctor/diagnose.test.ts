import { describe, expect, test } from '@jest/globals';
import { parseAddress, parseCidr } from '../../../shared/core/model/cidr';
import { diagnose, type Findings } from '../../../shared/core/doctor/diagnose';
import { PermanentError } from '../../../shared/core/model/errors';
import type { Explanation } from '../../../shared/core/explain/simulate/packet';
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
  address: '10.209.0.2',
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
    fix: `mend ${name}`,
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

test('where all is well no link is broken, and the service is what is left', () => {
  const { broken, verdict, checks } = diagnose(healthy);
  expect(broken).toBeNull();
  expect(verdict).toBe('Nothing is broken. If it still fails, ask the service itself.');
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
  ['from the node itself', { pod: undefined as never }],
  [
    'where pods are routed',
    {
      networkContext: { ...networkContext, networkRanges: [parseCidr('10.132.0.0/14')] },
      rules: notMasqueraded,
    },
  ],
  ['to what nothing is planned for', { destination: parseAddress('10.209.0.9') }],
])('a proof is not asked for where the connection does not need it: %s', (_, findings) => {
  const { broken, checks } = diagnose({ ...healthy, outcome: unproven, ...findings });
  expect(broken).toBeNull();
  expect(checks.at(-1)).toMatchObject({ name: 'proof', state: 'not-needed' });
});

test.each([
  ['10.133.7.7', "10.133.7.7 is in 10.132.0.0/14, the cluster's own pods"],
  ['10.96.0.10', "10.96.0.10 is in 10.96.0.0/12, the cluster's own services"],
])('what is of the cluster itself is named so, and no peering is to be made: %s', (destination, words) => {
  const states = { peering: 'broken', 'forward-route': 'broken', 'return-route': 'unknown' } as const;
  const { broken, verdict, checks } = diagnose({
    ...healthy,
    destination: parseAddress(destination),
    rules: notMasqueraded,
    reach: reach(states),
  });
  expect(broken).toBeNull();
  expect(verdict).toContain(words);
  expect(checks.filter(({ state }) => state === 'not-needed')).toHaveLength(6);
});

test('where the cloud leads to what the cluster has too, the cloud counts', () => {
  const destination = parseAddress('10.133.7.7');
  expect(
    diagnose({ ...healthy, destination, reach: reach({ 'return-route': 'broken' }) }).broken,
  ).toMatchObject({
    name: 'return-route',
  });
});

describe('the first broken link is named, with what mends it', () => {
  test.each<[string, Partial<Findings>, CheckName, string | undefined]>([
    [
      'a node that is stopped',
      { node: { ...node, state: 'stopped' }, outcome: skipped, rules: notMasqueraded },
      'node',
      'gcloud compute instances start gke-1 --zone europe-west1-c --project shop',
    ],
    [
      'a peering before the routes that it takes away',
      { reach: reach({ peering: 'broken', 'forward-route': 'broken' }) },
      'peering',
      'mend peering',
    ],
    [
      'a firewall before rules that are missing too',
      { reach: reach({ 'peer-firewall': 'broken' }), rules: notMasqueraded },
      'peer-firewall',
      'mend peer-firewall',
    ],
    [
      'no rule, which a push would bring',
      { rules: notMasqueraded, outcome: unproven },
      'masquerading',
      backfill,
    ],
    ['no rule, though it is proven', { rules: notMasqueraded }, 'masquerading', forcedBackfill],
    [
      'what is taken out of conntrack, though peermasq’s rules are there',
      { rules: { ...notMasqueraded, cause: 'untracked', fix: 'iptables-nft -t raw -D PREROUTING 1' } },
      'masquerading',
      'iptables-nft -t raw -D PREROUTING 1',
    ],
    [
      'no rule, and none planned',
      { rules: notMasqueraded, outcome: skipped },
      'masquerading',
      notMasqueraded.fix ?? '',
    ],
    [
      'an exemption in the way',
      {
        rules: { ...notMasqueraded, cause: 'exempt' },
        outcome: {
          ...proven,
          plan: { ...plan, ruleSet: ruleSetOf('exempt 10.193.0.0/24 except', 'masquerade 10.193.0.0/16 x') },
        },
      },
      'masquerading',
      `Take 10.193.0.3 out of what peermasq.yaml exempts (except, services), then: ${forcedBackfill}`,
    ],
    [
      'rules in the wrong backend, though they happen to work',
      { rules: { ...masqueraded, cause: 'wrong-backend' } },
      'masquerading',
      forcedBackfill,
    ],
    [
      'a source that is not the node’s',
      { rules: { ...masqueraded, source: '192.0.2.7', sources: ['192.0.2.7'] } },
      'masquerading',
      forcedBackfill,
    ],
    ['a proof that is missing', { outcome: unproven }, 'proof', backfill],
  ])('%s', (_, findings, name, fix) => {
    const { broken, verdict } = diagnose({ ...healthy, ...findings });
    expect(broken).toMatchObject({ name, ...(fix !== undefined && { fix }) });
    expect(verdict).toContain(`The first broken link is ${name}: `);
  });
});

describe('masquerading is not needed', () => {
  test.each<[string, Partial<Findings>]>([
    [
      'by pods of a VPC-native cluster',
      { networkContext: { ...networkContext, podRanges: [parseCidr('10.132.0.0/14')], arePodsRouted: true } },
    ],
    ['by pods with an address of the network', { pod: parseAddress('10.209.9.9') }],
  ])('%s', (_, findings) => {
    const { broken, verdict } = diagnose({
      ...healthy,
      rules: notMasqueraded,
      outcome: skipped,
      ...findings,
    });
    expect(broken).toBeNull();
    expect(verdict).toMatch(/^Nothing is broken\. Masquerading is not needed: 10\..* routes to\./);
  });

  test('by the node itself', () => {
    const fromNode: Findings = { ...healthy };
    delete (fromNode as { pod?: unknown }).pod;
    expect(diagnose({ ...fromNode, rules: notMasqueraded }).checks[6]).toMatchObject({
      name: 'masquerading',
      state: 'not-needed',
    });
  });
});

test.each<[string, Check['state'], Partial<Findings>]>([
  ['gone', 'broken', { rules: notMasqueraded }],
  ['behind another rule', 'broken', { rules: { ...notMasqueraded, cause: 'shadowed' } }],
  ['not reached, as nothing is tracked', 'ok', { rules: { ...notMasqueraded, cause: 'untracked' } }],
  ['not for this destination', 'ok', { rules: notMasqueraded, destination: parseAddress('10.77.0.3') }],
])('a node has drifted from what it proved where that is %s: %s', (_, state, findings) => {
  const { checks } = diagnose({ ...healthy, ...findings });
  expect(checks.find(({ name }) => name === 'proof')).toMatchObject({ state });
});

describe('where the node sends it elsewhere', () => {
  const dnat = '-A PREROUTING -d 10.193.0.3/32 -j DNAT --to-destination 10.193.0.4:5432';
  const sent = (...addresses: readonly (string | null)[]): Explanation => ({
    ...masqueraded,
    destinations: addresses.map((address) => ({ address, port: 5432 })),
    redirectedBy: [dnat],
  });

  test('the node says so, with the rule', () => {
    const { checks } = diagnose({ ...healthy, rules: sent('10.193.0.4') });
    expect(checks[0]).toMatchObject({ name: 'node', state: 'ok' });
    expect(checks[0]?.evidence[1]).toBe(
      `Asked for 10.193.0.3:443, the node sends it to 10.193.0.4:5432: ${dnat}`,
    );
    expect(checks[1]).toMatchObject({ name: 'peering', state: 'ok' });
  });

  test.each([
    ['one of several', '10.193.0.4'],
    ['not known', null],
  ])('and that is %s, what the cloud says of one is not taken for all', (_, other) => {
    const rules = sent('10.193.0.3', other);
    const { broken, checks } = diagnose({ ...healthy, rules, reach: reach({ peering: 'broken' }) });
    expect(broken).toBeNull();
    expect(checks.slice(1, 6).map(({ state }) => state)).toEqual(Array<string>(5).fill('unknown'));
  });
});

test('a drop that cannot be decided is not seen, and named', () => {
  const reason = 'It is masqueraded. It may also be dropped: -A FORWARD -m limit --limit 1/min -j DROP.';
  const { broken, verdict, checks } = diagnose({
    ...healthy,
    rules: { ...masqueraded, mayBeDropped: true, reason },
  });
  expect(broken).toBeNull();
  expect(verdict).toContain('not seen: node');
  expect(checks[0]).toMatchObject({ name: 'node', state: 'unknown', evidence: [reason, expect.any(String)] });
});

test('what cannot be seen is no broken link, and says how to see it', () => {
  const rules = new PermanentError('no-watcher', 'The node does not answer', 'gcloud compute ssh gke-1');
  const { broken, verdict, checks } = diagnose({
    ...healthy,
    rules,
    reach: reach({ 'return-route': 'unknown' }),
  });
  expect(broken).toBeNull();
  expect(verdict).toBe('Nothing is broken as far as can be seen; not seen: return-route, masquerading.');
  expect(checks[6]).toMatchObject({
    state: 'unknown',
    evidence: ['The node does not answer'],
    fix: 'gcloud compute ssh gke-1',
  });
});
