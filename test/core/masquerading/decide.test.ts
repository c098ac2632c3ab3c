import { describe, expect, test } from '@jest/globals';
import { decide, type Question } from '../../../shared/core/masquerading/decide';
import { decideByReturnRoute, type DecisionCode } from '../../../shared/core/masquerading/decision';
import { parseAddress, parseCidr } from '../../../shared/core/model/cidr';
import { nodeConfig, parseConfig } from '../../../shared/core/model/config';
import type { NetworkContext, Route } from '../../../shared/core/model/node';

const route = (destination: string, changes: Partial<Route> = {}): Route => ({
  kind: 'peerings',
  via: 'to-hub',
  destination,
  state: 'active',
  ...changes,
});
const peerSubnet = (destination: string) => route(destination, { peerRoutesPods: true });
const passedOn = (destination: string) => route(destination, { kind: 'peering-transit' });

/** A node in a GKE cluster: VPC-native, or with pod addresses that the cloud does not know. */
const routesBased: NetworkContext = {
  network: 'vpc-b',
  networkRanges: [parseCidr('10.209.0.0/16')],
  podRanges: [],
  routedPodRanges: [],
  routes: [],
  discoveredKinds: ['peerings', 'peering-transit', 'vpn'],
};
const pods = [parseCidr('10.132.0.0/14')];
const vpcNative = {
  podRanges: pods,
  routedPodRanges: pods,
  networkRanges: [...routesBased.networkRanges, ...pods],
};

interface Case {
  readonly settings?: string;
  readonly changes?: Partial<NetworkContext>;
  readonly from?: string;
  readonly to?: string;
  readonly code: DecisionCode;
  readonly evidence: string;
}

function ask({
  settings = '',
  changes = {},
  from = '10.132.0.10',
  to = '10.193.0.3',
}: Omit<Case, 'code' | 'evidence'>) {
  const config = parseConfig(`clusters: {frontend: {${settings}}}`);
  const source: Question['source'] = from === 'node' || from === 'any-pod' ? from : parseAddress(from);
  return decide({
    cluster: nodeConfig(config, { clusters: ['frontend'] }),
    networkContext: { ...routesBased, ...changes },
    source,
    destination: parseAddress(to),
  });
}

describe('the decision for a connection depends on the first of these that applies:', () => {
  test.each<[string, Case]>([
    [
      'the node itself is the source',
      {
        from: 'node',
        settings: 'masquerade: [{cidr: 10.193.0.0/16}]',
        code: 'from-node',
        evidence: 'starts on the node',
      },
    ],
    [
      'the destination is a metadata server',
      { to: '169.254.169.254', code: 'reserved-range', evidence: 'is in 169.254.0.0/16 (link-local' },
    ],
    [
      'the destination is a metadata server in a range that the config masquerades',
      {
        settings: 'pods: [fd01::/48], masquerade: [{cidr: fc00::/7}]',
        from: 'fd01::1',
        to: 'fd00:ec2::254',
        code: 'reserved-range',
        evidence: 'is in fd00:ec2::254/128 (EC2 instance metadata)',
      },
    ],
    [
      'the destination is a pod of the cluster, regardless of what the config masquerades',
      {
        settings: 'pods: [10.132.0.0/14], masquerade: [{cidr: 10.0.0.0/8, even-if-routed: true}]',
        to: '10.133.0.1',
        code: 'inside-cluster',
        evidence: "10.132.0.0/14, the cluster's pod range",
      },
    ],
    [
      'the destination is a service of the cluster',
      {
        settings: 'services: [10.96.0.0/12]',
        to: '10.96.0.10',
        code: 'inside-cluster',
        evidence: "10.96.0.0/12, the cluster's service range",
      },
    ],
    [
      'the destination is in `except`, which precedes any entry',
      {
        settings: 'except: [10.193.0.0/24], masquerade: [{cidr: 10.193.0.0/16, even-if-routed: true}]',
        code: 'excepted-range',
        evidence: 'The except list in peermasq.yaml contains 10.193.0.0/24',
      },
    ],
    [
      "the destination is in the node's own network, and so is the pod",
      { changes: vpcNative, to: '10.209.7.7', code: 'own-network', evidence: 'vpc-b, and so is the pod' },
    ],
    [
      "the destination is in the node's own network, and the pod is not",
      { to: '10.209.7.7', code: 'pods-outside-network', evidence: 'which is not masqueraded' },
    ],
    [
      "an entry with even-if-routed, inside the node's own network",
      {
        settings:
          'pods: [10.132.0.0/14], masquerade: [{cidr: 10.209.7.0/24, name: db, even-if-routed: true}]',
        to: '10.209.7.7',
        code: 'even-if-routed',
        evidence: '10.209.7.0/24 (db), even if pods are routed',
      },
    ],
    [
      'an entry with even-if-routed, for a peer that has routes to the pods',
      {
        settings: 'masquerade: [peerings, {cidr: 10.193.0.0/16, even-if-routed: true}]',
        changes: { ...vpcNative, routes: [peerSubnet('10.193.0.0/16')] },
        code: 'even-if-routed',
        evidence: '10.193.0.0/16',
      },
    ],
    [
      'an entry without even-if-routed, for a peer that has routes to the pods',
      {
        settings: 'masquerade: [peerings, {cidr: 10.193.0.0/16}]',
        changes: { ...vpcNative, routes: [peerSubnet('10.193.0.0/16')] },
        code: 'pods-routed',
        evidence: 'Peer to-hub has routes to 10.132.0.10',
      },
    ],
    [
      'an entry, where the config does not request routes of peers',
      {
        settings: 'masquerade: [{cidr: 10.193.0.0/16, name: hq}]',
        changes: { ...vpcNative, routes: [peerSubnet('10.193.0.0/16')] },
        code: 'configured-range',
        evidence: 'peermasq.yaml masquerades to 10.193.0.0/16 (hq).',
      },
    ],
    [
      'a route of a requested kind',
      {
        settings: 'masquerade: [vpn]',
        changes: { ...vpcNative, routes: [route('10.193.0.0/16', { kind: 'vpn', via: 'to-aws' })] },
        code: 'requested-route',
        evidence: 'vpc-b routes 10.193.0.0/16 through to-aws (vpn)',
      },
    ],
    [
      'a route that a peer passes on, if peerings are requested',
      {
        settings: 'masquerade: [peerings]',
        changes: { ...vpcNative, routes: [passedOn('10.193.0.0/16')] },
        code: 'requested-route',
        evidence: 'through to-hub (passed on by a peer)',
      },
    ],
    [
      'a subnet of a peer that has routes to only some of the pod ranges',
      {
        settings: 'pods: [10.60.0.0/16], masquerade: [peerings]',
        changes: { ...vpcNative, routes: [peerSubnet('10.193.0.0/16')] },
        code: 'requested-route',
        evidence: 'through to-hub (peerings)',
      },
    ],
    [
      'a subnet of a peer that has routes to the pod, even if peerings are not requested',
      {
        changes: { ...vpcNative, routes: [peerSubnet('10.193.0.0/16')] },
        code: 'pods-routed',
        evidence: 'its subnet 10.193.0.0/16 and 10.132.0.0/14 are exchanged',
      },
    ],
    [
      'the pod is outside the known pod ranges',
      {
        settings: 'pods: [10.60.0.0/16], masquerade: [{cidr: 10.193.0.0/16}]',
        code: 'unknown-pod-range',
        evidence: '10.132.0.10 is in no known pod range',
      },
    ],
    [
      'a default route',
      {
        settings: 'masquerade: [vpn]',
        changes: { routes: [route('0.0.0.0/0', { kind: 'vpn' })] },
        code: 'refused-range',
        evidence: '0.0.0.0/0 (to-hub) contains ranges that are never masqueraded',
      },
    ],
    [
      'a blackhole',
      {
        settings: 'masquerade: [peerings]',
        changes: { routes: [route('10.193.0.0/16', { state: 'blackhole' })] },
        code: 'inactive-route',
        evidence: 'is a blackhole',
      },
    ],
    [
      'the route of a peering that is being set up',
      {
        settings: 'masquerade: [peerings]',
        changes: { routes: [route('10.193.0.0/16', { state: 'provisioning' })] },
        code: 'inactive-route',
        evidence: 'still being set up',
      },
    ],
    [
      'a route kind that cannot be discovered',
      {
        settings: 'masquerade: [transit-gateways]',
        code: 'kind-not-discovered',
        evidence: 'Cannot discover transit-gateways',
      },
    ],
    [
      'a range in the config, where a route kind cannot be discovered',
      {
        settings: 'masquerade: [transit-gateways, {cidr: 10.193.0.0/16}]',
        code: 'configured-range',
        evidence: '10.193.0.0/16',
      },
    ],
    [
      'a route of a kind that the config does not request',
      {
        settings: 'masquerade: [vpn]',
        changes: { routes: [route('10.193.0.0/16')] },
        code: 'route-not-requested',
        evidence: 'does not masquerade to peerings for cluster frontend',
      },
    ],
    [
      'an address to which no route is known',
      { to: '203.0.113.9', code: 'no-known-route', evidence: 'no peering or gateway is known to route it' },
    ],
    [
      'an IPv6 destination, when peers have routes only to the IPv4 pods',
      {
        settings: 'pods: [fd00:1::/48], masquerade: [peerings]',
        changes: { ...vpcNative, routes: [peerSubnet('fd00:2::/48')] },
        from: 'fd00:1::9',
        to: 'fd00:2::3',
        code: 'requested-route',
        evidence: 'fd00:2::/48',
      },
    ],
    [
      'any pod, when no pod range is known',
      {
        settings: 'masquerade: [peerings]',
        changes: { routes: [route('10.193.0.0/16')] },
        from: 'any-pod',
        code: 'requested-route',
        evidence: '10.193.0.0/16',
      },
    ],
  ])('%s', (_, { code, evidence, ...question }) => {
    const decision = ask(question);
    expect(decision).toMatchObject({ code });
    expect(decision.evidence.join(' ')).toContain(evidence);
  });
});

test("the decision ignores an entry inside the node's own network while no pod range is known", () => {
  const settings = 'masquerade: [{cidr: 10.209.7.0/24, even-if-routed: true}]';
  expect(ask({ settings, to: '10.209.7.7' })).toMatchObject({
    verdict: 'unknown',
    code: 'pods-outside-network',
  });
});

test("the node's own network stays exempt from an entry that contains it", () => {
  const settings = 'pods: [10.132.0.0/14], masquerade: [{cidr: 10.192.0.0/10, even-if-routed: true}]';
  expect(ask({ settings, to: '10.209.7.7' })).toMatchObject({ code: 'pods-outside-network' });
  expect(ask({ settings })).toMatchObject({ code: 'even-if-routed' });
});

test('the decision names the clients that a Google service producer refuses', () => {
  const shared = [parseCidr('100.64.0.0/14')];
  const changes = { podRanges: shared, routedPodRanges: shared, routes: [peerSubnet('10.193.0.0/16')] };
  const { evidence } = ask({ changes, from: '100.64.3.7' });
  expect(evidence[1]).toContain('Google service producers such as Cloud SQL refuse clients outside RFC 1918');
});

describe('the decision by return routes:', () => {
  const open = ask({});
  const check = (state: 'ok' | 'broken' | 'unknown') => ({ state, evidence: [`The route is ${state}.`] });

  test.each([
    ['ok', 'ok', { verdict: 'not-needed', code: 'return-route' }],
    ['ok', 'broken', { verdict: 'not-needed', code: 'return-route' }],
    ['broken', 'ok', { verdict: 'needed', code: 'no-return-route' }],
    ['broken', 'unknown', { verdict: 'needed', code: 'no-return-route' }],
    ['broken', 'broken', { verdict: 'unknown', code: 'no-known-route' }],
    ['unknown', 'ok', { verdict: 'unknown', code: 'no-known-route' }],
  ] as const)(
    'if the config leaves it open, the route to the pod is %s and the route to the node is %s, the decision is %j',
    (pod, node, expected) => {
      const decision = decideByReturnRoute(open, { pod: check(pod), node: check(node) });
      expect(decision).toMatchObject(expected);
      const first = expected.verdict === 'unknown' ? open.evidence[0] : `The route is ${pod}.`;
      expect(decision.evidence[0]).toBe(first);
    },
  );

  test('a decision that follows from the config does not change', () => {
    const decided = ask({ settings: 'masquerade: [{cidr: 10.193.0.0/16}]' });
    expect(decideByReturnRoute(decided, { pod: check('ok'), node: check('ok') })).toBe(decided);
  });
});
