import { describe, expect, test } from '@jest/globals';
import { parseAddress, parseCidr } from '../../shared/core/cidr';
import { diagnose, type Findings } from '../../shared/core/doctor';
import { PermanentError } from '../../shared/core/errors';
import type { Explanation } from '../../shared/core/explain/packet';
import type { Node, Surroundings } from '../../shared/core/node';
import type { Outcome } from '../../shared/core/outcome';
import type { Check, LinkName } from '../../shared/core/reach';
import { ruleSetId } from '../../shared/core/rule-set';
import { ruleSetOf } from './rule-sets';

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
const around: Surroundings = {
  network: 'vpc-b',
  networkRanges: [parseCidr('10.209.0.0/16')],
  podRanges: [],
  arePodsRouted: false,
  routes: [],
  kindsLookedUp: [],
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
  cure: null,
};
const bare: Explanation = {
  ...masqueraded,
  masqueraded: false,
  source: '10.132.0.10',
  sources: ['10.132.0.10'],
  cause: 'no-rule',
  reason: 'No rule masquerades it.',
  cure: 'iptables -t nat -I POSTROUTING 1 -d 10.193.0.3/32 -j MASQUERADE',
};

const reachLinks: readonly LinkName[] = [
  'peering',
  'route-there',
  'route-back',
  'firewall-node',
  'firewall-peer',
];
const reach = (states: Partial<Record<LinkName, Check['state']>> = {}): Check[] =>
  reachLinks.map((link) => ({
    link,
    state: states[link] ?? 'ok',
    evidence: [`about ${link}`],
    cure: `mend ${link}`,
  }));

const good: Findings = {
  node,
  outcome: proven,
  around,
  pod: parseAddress('10.132.0.10'),
  asked: { address: parseAddress('10.193.0.3'), port: 443 },
  destination: parseAddress('10.193.0.3'),
  clusterRanges: [
    { cidr: parseCidr('10.132.0.0/14'), of: 'pods' },
    { cidr: parseCidr('10.96.0.0/12'), of: 'services' },
  ],
  rules: masqueraded,
  reach: reach(),
};

test('where all is well no link is broken, and the service is what is left', () => {
  const { broken, verdict, checks } = diagnose(good);
  expect(broken).toBeNull();
  expect(verdict).toBe('Nothing is broken. If it still fails, ask the service itself.');
  expect(checks.map(({ link, state }) => `${link} ${state}`)).toEqual([
    'node ok',
    'peering ok',
    'route-there ok',
    'route-back ok',
    'firewall-node ok',
    'firewall-peer ok',
    'masquerading ok',
    'proof ok',
  ]);
});

const backfill = 'npx peermasq backfill --node 4711';
const again = 'npx peermasq backfill --again --node 4711';

test.each<[string, Partial<Findings>]>([
  ['from the node itself', { pod: undefined as never }],
  [
    'where pods are routed',
    { around: { ...around, networkRanges: [parseCidr('10.132.0.0/14')] }, rules: bare },
  ],
  ['to what nothing is planned for', { destination: parseAddress('10.209.0.9') }],
])('a proof is not asked for where the connection does not need it: %s', (_, findings) => {
  const { broken, checks } = diagnose({ ...good, outcome: unproven, ...findings });
  expect(broken).toBeNull();
  expect(checks.at(-1)).toMatchObject({ link: 'proof', state: 'not-needed' });
});

test.each([
  ['10.133.7.7', "10.133.7.7 is in 10.132.0.0/14, the cluster's own pods"],
  ['10.96.0.10', "10.96.0.10 is in 10.96.0.0/12, the cluster's own services"],
])('what is of the cluster itself is named so, and no peering is to be made: %s', (destination, words) => {
  const states = { peering: 'broken', 'route-there': 'broken', 'route-back': 'unknown' } as const;
  const { broken, verdict, checks } = diagnose({
    ...good,
    destination: parseAddress(destination),
    rules: bare,
    reach: reach(states),
  });
  expect(broken).toBeNull();
  expect(verdict).toContain(words);
  expect(checks.filter(({ state }) => state === 'not-needed')).toHaveLength(6);
});

test('where the cloud leads to what the cluster has too, the cloud counts', () => {
  const destination = parseAddress('10.133.7.7');
  expect(diagnose({ ...good, destination, reach: reach({ 'route-back': 'broken' }) }).broken).toMatchObject({
    link: 'route-back',
  });
});

describe('the first broken link is named, with what mends it', () => {
  test.each<[string, Partial<Findings>, LinkName, string | undefined]>([
    [
      'a node that is stopped',
      { node: { ...node, state: 'stopped' }, outcome: skipped, rules: bare },
      'node',
      'gcloud compute instances start gke-1 --zone europe-west1-c --project shop',
    ],
    [
      'a peering before the routes that it takes away',
      { reach: reach({ peering: 'broken', 'route-there': 'broken' }) },
      'peering',
      'mend peering',
    ],
    [
      'a firewall before rules that are missing too',
      { reach: reach({ 'firewall-peer': 'broken' }), rules: bare },
      'firewall-peer',
      'mend firewall-peer',
    ],
    ['no rule, which a push would bring', { rules: bare, outcome: unproven }, 'masquerading', backfill],
    ['no rule, though it is proven', { rules: bare }, 'masquerading', again],
    [
      'what is taken out of conntrack, though peermasq’s rules are there',
      { rules: { ...bare, cause: 'untracked', cure: 'iptables-nft -t raw -D PREROUTING 1' } },
      'masquerading',
      'iptables-nft -t raw -D PREROUTING 1',
    ],
    ['no rule, and none planned', { rules: bare, outcome: skipped }, 'masquerading', bare.cure ?? ''],
    [
      'an exemption in the way',
      {
        rules: { ...bare, cause: 'exempt' },
        outcome: {
          ...proven,
          plan: { ...plan, ruleSet: ruleSetOf('exempt 10.193.0.0/24 except', 'masquerade 10.193.0.0/16 x') },
        },
      },
      'masquerading',
      `Take 10.193.0.3 out of what peermasq.yaml exempts (except, services), then: ${again}`,
    ],
    [
      'rules in the wrong backend, though they happen to work',
      { rules: { ...masqueraded, cause: 'wrong-backend' } },
      'masquerading',
      again,
    ],
    [
      'a source that is not the node’s',
      { rules: { ...masqueraded, source: '192.0.2.7', sources: ['192.0.2.7'] } },
      'masquerading',
      again,
    ],
    ['a proof that is missing', { outcome: unproven }, 'proof', backfill],
  ])('%s', (_, findings, link, cure) => {
    const { broken, verdict } = diagnose({ ...good, ...findings });
    expect(broken).toMatchObject({ link, ...(cure !== undefined && { cure }) });
    expect(verdict).toContain(`The first broken link is ${link}: `);
  });
});

describe('masquerading is not needed', () => {
  test.each<[string, Partial<Findings>]>([
    [
      'by pods of a VPC-native cluster',
      { around: { ...around, podRanges: [parseCidr('10.132.0.0/14')], arePodsRouted: true } },
    ],
    ['by pods with an address of the network', { pod: parseAddress('10.209.9.9') }],
  ])('%s', (_, findings) => {
    const { broken, verdict } = diagnose({ ...good, rules: bare, outcome: skipped, ...findings });
    expect(broken).toBeNull();
    expect(verdict).toMatch(/^Nothing is broken\. Masquerading is not needed: 10\..* routes to\./);
  });

  test('by the node itself', () => {
    const ofNode: Findings = { ...good };
    delete (ofNode as { pod?: unknown }).pod;
    expect(diagnose({ ...ofNode, rules: bare }).checks[6]).toMatchObject({
      link: 'masquerading',
      state: 'not-needed',
    });
  });
});

test.each<[string, Check['state'], Partial<Findings>]>([
  ['gone', 'broken', { rules: bare }],
  ['behind another rule', 'broken', { rules: { ...bare, cause: 'shadowed' } }],
  ['not reached, as nothing is tracked', 'ok', { rules: { ...bare, cause: 'untracked' } }],
  ['not for this destination', 'ok', { rules: bare, destination: parseAddress('10.77.0.3') }],
])('a node has drifted from what it proved where that is %s: %s', (_, state, findings) => {
  const { checks } = diagnose({ ...good, ...findings });
  expect(checks.find(({ link }) => link === 'proof')).toMatchObject({ state });
});

describe('where the node sends it elsewhere', () => {
  const dnat = '-A PREROUTING -d 10.193.0.3/32 -j DNAT --to-destination 10.193.0.4:5432';
  const sent = (...addresses: readonly (string | null)[]): Explanation => ({
    ...masqueraded,
    destinations: addresses.map((address) => ({ address, port: 5432 })),
    redirectedBy: [dnat],
  });

  test('the node says so, with the rule', () => {
    const { checks } = diagnose({ ...good, rules: sent('10.193.0.4') });
    expect(checks[0]).toMatchObject({ link: 'node', state: 'ok' });
    expect(checks[0]?.evidence[1]).toBe(
      `Asked for 10.193.0.3:443, the node sends it to 10.193.0.4:5432: ${dnat}`,
    );
    expect(checks[1]).toMatchObject({ link: 'peering', state: 'ok' });
  });

  test.each([
    ['one of several', '10.193.0.4'],
    ['not known', null],
  ])('and that is %s, what the cloud says of one is not taken for all', (_, other) => {
    const rules = sent('10.193.0.3', other);
    const { broken, checks } = diagnose({ ...good, rules, reach: reach({ peering: 'broken' }) });
    expect(broken).toBeNull();
    expect(checks.slice(1, 6).map(({ state }) => state)).toEqual(Array<string>(5).fill('unknown'));
  });
});

test('a drop that cannot be decided is not seen, and named', () => {
  const reason = 'It is masqueraded. It may also be dropped: -A FORWARD -m limit --limit 1/min -j DROP.';
  const { broken, verdict, checks } = diagnose({
    ...good,
    rules: { ...masqueraded, mayBeDropped: true, reason },
  });
  expect(broken).toBeNull();
  expect(verdict).toContain('not seen: node');
  expect(checks[0]).toMatchObject({ link: 'node', state: 'unknown', evidence: [reason, expect.any(String)] });
});

test('what cannot be seen is no broken link, and says how to see it', () => {
  const rules = new PermanentError('unwatched', 'The node does not answer', 'gcloud compute ssh gke-1');
  const { broken, verdict, checks } = diagnose({ ...good, rules, reach: reach({ 'route-back': 'unknown' }) });
  expect(broken).toBeNull();
  expect(verdict).toBe('Nothing is broken as far as can be seen; not seen: route-back, masquerading.');
  expect(checks[6]).toMatchObject({
    state: 'unknown',
    evidence: ['The node does not answer'],
    cure: 'gcloud compute ssh gke-1',
  });
});
