import { describe, expect, test } from '@jest/globals';
import { parseCidr } from '../../../shared/core/model/cidr';
import { parseConfig, type Config } from '../../../shared/core/model/config';
import type { Node, Route, NetworkContext } from '../../../shared/core/model/node';
import { checkEligibility, type Warning } from '../../../shared/core/reconcile/check-eligibility';
import { plan, type Plan, type PlanInput } from '../../../shared/core/reconcile/plan';
import { printRuleSet } from '../../../shared/core/model/rule-set';

const node: Node = {
  ref: { cloud: 'gcp', project: 'shop', zone: 'europe-west1-c', id: '4711' },
  name: 'gke-frontend-1',
  clusters: ['frontend'],
  state: 'running',
  platform: 'linux',
  isControlPlane: false,
};

const peering = (destination: string, via = 'to-backend'): Route => ({
  kind: 'peerings',
  via,
  destination,
  state: 'active',
});

/** A subnet of a peer that has routes to the pods, as Google Cloud reports it. */
const peerSubnet = (destination: string): Route => ({ ...peering(destination), peerRoutesPods: true });

const networkContext: NetworkContext = {
  network: 'vpc-b',
  networkRanges: [parseCidr('10.209.0.0/16')],
  podRanges: [],
  routedPodRanges: [],
  routes: [peering('10.193.0.0/16')],
  discoveredKinds: ['peerings', 'vpn', 'transit-gateways'],
};

/** A network context in which peers have routes to the pods. */
const routedPods = {
  routedPodRanges: [parseCidr('10.132.0.0/14')],
  podRanges: [parseCidr('10.132.0.0/14')],
  routes: [peerSubnet('10.193.0.0/16')],
};

const configOf = (settings: string): Config => parseConfig(`clusters: {frontend: {${settings}}}`);

function planWith(
  settings: string,
  changes: Partial<NetworkContext> = {},
  { allowRouteLoss = false, ...self }: Partial<Node> & Pick<PlanInput, 'allowRouteLoss'> = {},
): Plan {
  const [cluster] = configOf(settings).clusters;
  if (!cluster) throw new Error('no cluster');
  return plan({
    node: { ...node, ...self },
    cluster,
    networkContext: { ...networkContext, ...changes },
    generation: 1795295818468,
    allowRouteLoss,
  });
}

interface PlanCase {
  readonly title: string;
  readonly settings: string;
  readonly changes?: Partial<NetworkContext>;
}

/** Returns the lines of the rule set after the header and the generation. */
function rules(result: Plan): string[] {
  if (result.kind !== 'rule-set') throw new Error(`a ${result.kind}, not a rule set`);
  return printRuleSet(result.ruleSet).trimEnd().split('\n').slice(2);
}

const warnings = (result: Plan): string[] => result.warnings.map(({ code }) => code);

describe('checkEligibility', () => {
  const config = configOf('masquerade: [peerings]');

  test.each([
    [{ clusters: [] }, 'no-cluster', 'name no cluster'],
    [{ clusters: ['a', 'b'] }, 'ambiguous-cluster', 'more than one cluster: a, b'],
    [{ clusters: ['other'] }, 'not-configured', 'no entry for cluster other'],
    [{ state: 'stopped' }, 'not-running', 'is stopped'],
    [{ state: 'gone' }, 'not-running', 'no longer exists'],
    [{ platform: 'windows' }, 'windows', 'no iptables'],
    [{ platform: 'bottlerocket' }, 'bottlerocket', 'without iptables'],
  ] satisfies [Partial<Node>, string, string][])('skips %j: %s', (self, reason, detail) => {
    expect(checkEligibility({ ...node, ...self }, config)).toMatchObject({
      kind: 'skip',
      reason,
      detail: expect.stringContaining(detail),
    });
  });

  test.each([{ state: 'running' }, { state: 'starting' }] satisfies Partial<Node>[])('accepts %j', (self) => {
    expect(checkEligibility({ ...node, ...self }, config)).toMatchObject({
      kind: 'eligible',
      cluster: { name: 'frontend' },
    });
  });
});

describe('a control-plane node', () => {
  const controlPlane = { ...node, isControlPlane: true };

  test('is eligible by default', () => {
    expect(checkEligibility(controlPlane, configOf('masquerade: [peerings]')).kind).toBe('eligible');
  });

  test('is skipped if the config excludes it', () => {
    expect(
      checkEligibility(controlPlane, configOf('control-plane: false, masquerade: [peerings]')),
    ).toMatchObject({
      kind: 'skip',
      reason: 'control-plane',
    });
  });
});

describe('the planned rule set', () => {
  test("masquerades pods' traffic to the routes of a peering, except to pods, services and the node's own network", () => {
    const result = planWith(
      'pods: [10.132.0.0/14], services: [10.135.240.0/20], masquerade: [peerings], probe: ["10.193.0.3:32191"]',
    );
    expect(rules(result)).toEqual([
      'source 10.132.0.0/14',
      'exempt 10.132.0.0/14 pods',
      'exempt 10.209.0.0/16 network',
      'masquerade 10.193.0.0/16 to-backend',
      'probe 10.193.0.3:32191',
    ]);
    expect(result.warnings).toEqual([]);
  });

  test.each<PlanCase & { readonly expected: readonly string[] }>([
    {
      title: 'the ranges in the config',
      settings: 'masquerade: [{cidr: 10.64.0.0/16, name: hq}]',
      expected: ['masquerade 10.64.0.0/16 hq'],
    },
    {
      title: 'only routes of the configured kinds',
      settings: 'masquerade: [vpn]',
      changes: { routes: [peering('10.1.0.0/16'), { ...peering('10.2.0.0/16', 'vgw-1'), kind: 'vpn' }] },
      expected: ['masquerade 10.2.0.0/16 vgw-1'],
    },
    {
      title: 'IPv6 ranges as well as IPv4 ranges',
      settings: 'masquerade: [peerings]',
      changes: { routes: [peering('fd12::/48'), peering('10.1.0.0/16')] },
      expected: ['masquerade 10.1.0.0/16 to-backend', 'masquerade fd12::/48 to-backend'],
    },
    {
      title: 'adjacent ranges as one range, which is named after all of them',
      settings: 'masquerade: [peerings]',
      changes: {
        routes: [
          peering('10.2.0.0/16', 'pcx-b'),
          peering('10.3.0.0/16', 'pcx-a'),
          peering('10.3.1.0/24', 'pcx-c'),
        ],
      },
      expected: ['masquerade 10.2.0.0/15 pcx-a/and-2-more'],
    },
    {
      title: 'nested ranges as one range, with the name of the outer range',
      settings: 'masquerade: [peerings, {cidr: 10.2.7.0/24, name: aa}]',
      changes: { routes: [peering('10.2.0.0/16', 'pcx-b')] },
      expected: ['masquerade 10.2.0.0/16 pcx-b'],
    },
    {
      title: 'names without unsafe characters',
      settings: 'masquerade: [peerings]',
      changes: { routes: [peering('10.2.0.0/16', 'x"; reboot #')] },
      expected: ['masquerade 10.2.0.0/16 x---reboot--'],
    },
  ])('has $title', ({ settings, changes, expected }) => {
    expect(rules(planWith(settings, { networkRanges: [], ...changes }))).toEqual(expected);
  });

  test('has the options from the config and the pod ranges from the cloud', () => {
    const settings = 'out: eth0, random-fully: true, except: [10.193.7.0/24], masquerade: [peerings]';
    expect(rules(planWith(settings, { podRanges: [parseCidr('10.132.1.0/24')] }))).toEqual([
      'option random-fully',
      'option out eth0',
      'source 10.132.1.0/24',
      'exempt 10.132.1.0/24 pods',
      'exempt 10.193.7.0/24 except',
      'exempt 10.209.0.0/16 network',
      'masquerade 10.193.0.0/16 to-backend',
    ]);
  });

  describe('on a node that may need steering', () => {
    const ec2 = { ref: { cloud: 'aws', account: '111122223333', region: 'eu-west-1', id: 'i-1' } } as const;
    const vpc = { networkRanges: ['10.0.0.0/16', '100.64.0.0/16', 'fd00::/48'].map(parseCidr) };

    test.each<{ title: string; pods: string; self?: Partial<Node>; isAllowed?: boolean }>([
      {
        title: "allows steering for pods in one of the VPC's ranges",
        pods: '100.64.0.0/16',
        isAllowed: true,
      },
      { title: 'allows steering for pods in part of a VPC range', pods: '10.0.128.0/17', isAllowed: true },
      {
        title: 'allows steering for pods in a range that contains a VPC range',
        pods: '10.0.0.0/12',
        isAllowed: true,
      },
      {
        title: 'allows steering for pods only some of which have VPC addresses',
        pods: '172.20.0.0/16, 100.64.0.0/16',
        isAllowed: true,
      },
      { title: 'does not allow steering for pods in an overlay network', pods: '172.20.0.0/16' },
      { title: 'does not allow steering for unknown pods', pods: '' },
      {
        title: 'does not allow steering for pods with VPC addresses in a family without destinations',
        pods: 'fd00::/48, 172.20.0.0/16',
      },
      { title: 'does not allow steering on Google Cloud', pods: '100.64.0.0/16', self: {} },
    ])('$title', ({ pods, self = ec2, isAllowed = false }) => {
      const result = planWith(`pods: [${pods}], masquerade: [peerings]`, vpc, self);
      expect(rules(result).includes('option steer')).toBe(isAllowed);
    });
  });

  describe('of a node with a route that exists only in the subnets of its secondary interfaces', () => {
    const pods = '100.64.0.0/16';
    const vpc = ['10.0.0.0/16', pods].map(parseCidr);
    const own = (destination: string): Route => ({
      ...peering(destination, 'tgw-1'),
      kind: 'transit-gateways',
    });
    const other = (destination: string): Route => ({
      ...peering(destination, 'pcx-1'),
      onlyInSubnets: ['subnet-p'],
    });
    const planRoutes = (routes: readonly Route[], settings = `pods: [${pods}]`) =>
      planWith(`${settings}, masquerade: [peerings, transit-gateways]`, { networkRanges: vpc, routes });
    const rulesOf = (result: Plan) => rules(result).filter((line) => / other-subnet|^masquerade/.test(line));

    test('does not exist if there is no other route, and the warning names the route', () => {
      const result = planRoutes([other('10.193.0.0/16')]);
      expect(result).toMatchObject({ kind: 'skip', reason: 'not-in-node-subnet' });
      expect(result.warnings).toContainEqual({
        code: 'not-in-node-subnet',
        detail: expect.stringContaining(
          'The route to 10.193.0.0/16 through pcx-1 exists only in subnet-p,',
        ) as unknown,
      });
    });

    test.each<[string, Route[], string[]]>([
      [
        'masquerades the destinations of all other routes',
        [own('172.16.0.0/12'), other('10.193.0.0/16')],
        ['masquerade 172.16.0.0/12 tgw-1'],
      ],
      [
        'exempts the range of that route from a wider destination',
        [own('172.16.0.0/12'), other('172.20.0.0/16')],
        ['exempt 172.20.0.0/16 other-subnet', 'masquerade 172.16.0.0/12 tgw-1'],
      ],
      [
        "masquerades the part of the range for which the node's own subnet has a route",
        [own('172.16.0.0/12'), other('172.20.0.0/16'), own('172.20.128.0/17')],
        ['exempt 172.20.0.0/17 other-subnet', 'masquerade 172.16.0.0/12 tgw-1'],
      ],
    ])('%s', (_, routes, expected) => {
      expect(rulesOf(planRoutes(routes))).toEqual(expected);
    });

    test.each([
      ['pods in an overlay network', 'pods: [192.168.0.0/16]'],
      ['unknown pods', 'out: eth0'],
    ])('masquerades %s with the address of the interface that the kernel chooses', (_, settings) => {
      expect(rulesOf(planRoutes([other('10.193.0.0/16')], settings))).toEqual([
        'masquerade 10.193.0.0/16 pcx-1',
      ]);
    });
  });

  test('lists the config entries and routes from which each destination was merged', () => {
    const result = planWith('masquerade: [peerings, {cidr: 10.192.0.0/16, name: hq}]');
    expect(result).toMatchObject({
      provenance: [
        { cidr: { text: '10.192.0.0/15' }, from: [{ from: 'config' }, { from: { via: 'to-backend' } }] },
      ],
    });
  });

  test('omits sources and exemptions in families without destinations, and duplicate probes', () => {
    const settings =
      'pods: [10.132.0.0/14, fd00::/48], masquerade: [peerings], probe: ["10.193.0.1:80", "10.193.0.1:80"]';
    const networkRanges = [parseCidr('10.209.0.0/16'), parseCidr('2001:db8::/56')];
    expect(rules(planWith(settings, { networkRanges }))).toEqual([
      'source 10.132.0.0/14',
      'exempt 10.132.0.0/14 pods',
      'exempt 10.209.0.0/16 network',
      'masquerade 10.193.0.0/16 to-backend',
      'probe 10.193.0.1:80',
    ]);
  });

  test('exempts IPv6 metadata servers in wider ranges, unless another exemption contains them', () => {
    const withPods = 'pods: [fd01::/48], masquerade: [{cidr: fc00::/7, name: hq}]';
    expect(rules(planWith(withPods, { networkRanges: [], routes: [] }))).toEqual([
      'source fd01::/48',
      'exempt fd00:ec2::23/128 eks-pod-identity',
      'exempt fd00:ec2::123/128 ec2-ntp',
      'exempt fd00:ec2::250/128 ec2-activation',
      'exempt fd00:ec2::253/128 ec2-dns',
      'exempt fd00:ec2::254/128 ec2-metadata',
      'exempt fd01::/48 pods',
      'exempt fd20:ce::254/128 gce-metadata',
      'masquerade fc00::/7 hq',
    ]);
    expect(
      rules(planWith(`${withPods}, except: ["fd00:ec2::/32"]`, { networkRanges: [], routes: [] })),
    ).toEqual(expect.not.arrayContaining(['exempt fd00:ec2::254/128 ec2-metadata']));
  });

  test('does not exempt metadata servers for ranges that no rule contains', () => {
    const settings = 'pods: [10.132.0.0/14, fd01::/48], masquerade: [peerings]';
    const routes = [peering('::/0'), peering('fd02::/48'), peering('10.193.0.0/16')];
    expect(rules(planWith(settings, { networkRanges: [], routes }))).toEqual([
      'source 10.132.0.0/14',
      'source fd01::/48',
      'exempt 10.132.0.0/14 pods',
      'exempt fd01::/48 pods',
      'masquerade 10.193.0.0/16 to-backend',
      'masquerade fd02::/48 to-backend',
    ]);
  });

  test('skips a range if only a metadata server is left after removing the part that peers route', () => {
    const settings = 'pods: [fd01::/48], masquerade: [peerings, {cidr: "fd00:ec2::254/127"}]';
    const routes = [peerSubnet('fd00:ec2::255/128'), peering('fd02::/48')];
    const pods = [parseCidr('fd01::/48')];
    const changes = { networkRanges: [], podRanges: pods, routedPodRanges: pods, routes };
    expect(rules(planWith(settings, changes))).toEqual([
      'source fd01::/48',
      'exempt fd00:ec2::254/128 ec2-metadata',
      'exempt fd01::/48 pods',
      'masquerade fd02::/48 to-backend',
    ]);
  });

  test('has the same ID for every generation and every order of routes', () => {
    const routes = [peering('10.1.0.0/16', 'a'), peering('10.64.0.0/16', 'b'), peering('10.2.0.0/15', 'c')];
    const one = planWith('masquerade: [peerings]', { routes });
    const other = planWith('masquerade: [peerings]', { routes: routes.toReversed() });
    expect(one).toMatchObject({ id: expect.stringMatching(/^[0-9a-f]{64}$/) });
    expect(rules(other)).toEqual(rules(one));
  });
});

describe('the plan warns about', () => {
  const withPods = 'pods: [10.132.0.0/14], masquerade: [peerings]';

  test.each<PlanCase & { readonly code: Warning['code'] }>([
    { title: 'no pod range', settings: 'masquerade: [peerings]', code: 'any-source' },
    {
      title: 'a default route through a gateway',
      settings: 'pods: [10.132.0.0/14], masquerade: [vpn, peerings]',
      changes: { routes: [peering('10.1.0.0/16'), { ...peering('0.0.0.0/0', 'tgw-1'), kind: 'vpn' }] },
      code: 'reserved-range',
    },
    {
      title: 'a blackhole route',
      settings: withPods,
      changes: { routes: [peering('10.1.0.0/16'), { ...peering('10.2.0.0/16'), state: 'blackhole' }] },
      code: 'blackhole',
    },
    {
      title: 'a route whose destination is not a CIDR',
      settings: withPods,
      changes: { routes: [peering('10.1.0.0/16'), peering('pl-0123; reboot')] },
      code: 'unreadable-route',
    },
    {
      title: "a destination inside the node's own network",
      settings: withPods,
      changes: { routes: [peering('10.1.0.0/16'), peering('10.209.4.0/24')] },
      code: 'destination-exempt',
    },
    {
      title: 'a destination that several exemptions cover together',
      settings: `except: [10.2.0.0/17, 10.2.128.0/17], ${withPods}`,
      changes: { routes: [peering('10.1.0.0/16'), peering('10.2.0.0/16')] },
      code: 'destination-exempt',
    },
    {
      title: "a destination that contains the node's network",
      settings: withPods,
      changes: { routes: [peering('10.208.0.0/15')] },
      code: 'destination-overlaps',
    },
    {
      title: 'a probe that is not masqueraded',
      settings: `${withPods}, probe: ["10.64.0.1:80", "10.193.0.1:80"]`,
      code: 'probe-not-masqueraded',
    },
    {
      title: 'a route kind for which no route was found',
      settings: 'pods: [10.132.0.0/14], masquerade: [peerings, vpn]',
      code: 'no-routes-found',
    },
    {
      title: 'a destination in an IP family without pods',
      settings: withPods,
      changes: { routes: [peering('10.193.0.0/16'), peering('fd12::/48')] },
      code: 'no-pod-range-in-family',
    },
    {
      title: 'a route kind that the cloud cannot discover',
      settings: 'pods: [10.132.0.0/14], masquerade: [peerings, vpn]',
      changes: { discoveredKinds: ['peerings'] },
      code: 'kind-not-discovered',
    },
  ])('$title', ({ settings, changes, code }) => {
    const result = planWith(settings, changes);
    expect(warnings(result)).toEqual([code]);
    expect(rules(result).filter((line) => line.startsWith('masquerade'))).toHaveLength(1);
  });
});

describe('a config entry with even-if-routed', () => {
  const masqueraded = (result: Plan) => rules(result).filter((line) => line.startsWith('masquerade'));
  const detailOf = (result: Plan, wanted: Warning['code']) =>
    result.warnings.find(({ code }) => code === wanted)?.detail;
  const shared = [parseCidr('100.64.0.0/14')];
  const toPeer = {
    podRanges: shared,
    routedPodRanges: shared,
    routes: [peerSubnet('10.193.0.0/16'), peerSubnet('10.194.0.0/16')],
  };

  test('masquerades to a peer that has routes to the pods', () => {
    const entry = '{cidr: 10.193.0.0/24, name: cloud-sql, even-if-routed: true}';
    const result = planWith(`masquerade: [peerings, ${entry}]`, toPeer);
    expect(masqueraded(result)).toEqual(['masquerade 10.193.0.0/24 cloud-sql']);
  });

  test('is recommended when an entry without even-if-routed is skipped', () => {
    const result = planWith('masquerade: [peerings, {cidr: 10.193.0.0/24, name: db}]', toPeer);
    expect(result).toMatchObject({ kind: 'skip', reason: 'pods-routed' });
    expect(detailOf(result, 'destination-routed')).toBe(
      'Skipped 10.193.0.0/24 (db): peers in these ranges have routes to the pods. To masquerade anyway, set even-if-routed: true on the entry.',
    );
  });

  test('is required to masquerade the part of an entry that belongs to peers with routes to the pods', () => {
    const result = planWith('masquerade: [peerings, {cidr: 10.192.0.0/15, name: hq}]', toPeer);
    expect(masqueraded(result)).toEqual(['masquerade 10.192.0.0/16 hq']);
    expect(detailOf(result, 'destination-routed')).toContain('is masqueraded except for 10.193.0.0/16');
  });

  test('is recommended for pods outside RFC 1918 unless an entry already covers every peer that has routes to the pods', () => {
    const warning = detailOf(planWith('masquerade: [peerings]', toPeer), 'pods-outside-rfc1918');
    expect(warning).toContain(
      'Pods have addresses outside RFC 1918 (100.64.0.0/14). Google service producers',
    );
    const all = '{cidr: 10.192.0.0/14, even-if-routed: true}';
    expect(warnings(planWith(`masquerade: [peerings, ${all}]`, toPeer))).not.toContain(
      'pods-outside-rfc1918',
    );
    expect(warnings(planWith('masquerade: [peerings]', routedPods))).not.toContain('pods-outside-rfc1918');
  });

  test("removes only its own range from the exemption of the node's own network", () => {
    const settings =
      'pods: [10.132.0.0/14], except: [10.209.0.8/29], masquerade: [{cidr: 10.209.0.0/28, name: db, even-if-routed: true}]';
    expect(rules(planWith(settings, { networkRanges: [parseCidr('10.209.0.0/26')] }))).toEqual([
      'source 10.132.0.0/14',
      'exempt 10.132.0.0/14 pods',
      'exempt 10.209.0.8/29 except',
      'exempt 10.209.0.16/28 network',
      'exempt 10.209.0.32/27 network',
      'masquerade 10.209.0.0/28 db',
    ]);
  });

  test.each([
    [
      'instead of an entry without even-if-routed',
      'pods: [10.132.0.0/14], masquerade: [{cidr: 10.209.7.0/24}]',
      'set even-if-routed: true',
    ],
    [
      'together with pod ranges, if none is known',
      'masquerade: [{cidr: 10.209.7.0/24, even-if-routed: true}]',
      'configure pods, and set even-if-routed: true',
    ],
  ])("is recommended inside the node's own network %s", (_, settings, advice) => {
    const result = planWith(settings);
    expect(result).toMatchObject({ kind: 'skip', reason: 'nothing-to-masquerade' });
    expect(detailOf(result, 'destination-exempt')).toContain(advice);
  });

  test('does not masquerade to pods in ranges that the cloud reports', () => {
    const settings = 'masquerade: [{cidr: 10.132.0.0/16, even-if-routed: true}]';
    expect(warnings(planWith(settings, routedPods))).toContain('destination-exempt');
  });
});

describe('the planner', () => {
  const recorded = { recorded: { ruleSetId: 'a'.repeat(64), isProven: true } };

  test('masquerades only towards the VPN, with a warning, if peers have routes to the pods', () => {
    const overVpn: Route = { kind: 'vpn', via: 'to-aws', destination: '172.20.0.0/16', state: 'active' };
    const routes = [peerSubnet('10.193.0.0/16'), overVpn];
    const result = planWith('masquerade: [peerings, vpn]', { ...routedPods, routes });
    expect(rules(result).filter((line) => line.startsWith('masquerade'))).toEqual([
      'masquerade 172.20.0.0/16 to-aws',
    ]);
    expect(result.warnings).toContainEqual({
      code: 'pods-routed',
      detail: 'Traffic to subnets of peers is not masqueraded: the peers have routes to the pods.',
    });
  });

  test('skips a node if its rule set would be empty', () => {
    expect(planWith('masquerade: [peerings]', { routes: [] })).toMatchObject({
      kind: 'skip',
      reason: 'nothing-to-masquerade',
    });
  });

  test('masquerades to ranges that a peer passes on, even if the peer itself has routes to the pods', () => {
    const passedOn: Route = { ...peering('10.50.0.0/16', 'to-hub'), kind: 'peering-transit' };
    const routes = [peerSubnet('10.193.0.0/16'), passedOn];
    const result = planWith('masquerade: [peerings]', { ...routedPods, routes });
    expect(rules(result).filter((line) => line.startsWith('masquerade'))).toEqual([
      'masquerade 10.50.0.0/16 to-hub',
    ]);
    expect(rules(planWith('masquerade: [peering-transit]', { ...routedPods, routes }))).toEqual(
      rules(result),
    );
  });

  test('skips a node if peers have routes to its pods', () => {
    expect(planWith('masquerade: [peerings]', routedPods)).toMatchObject({
      kind: 'skip',
      reason: 'pods-routed',
    });
  });

  test('keeps the rules in force if discovery no longer finds the routes that they are based on', () => {
    expect(planWith('masquerade: [peerings]', { routes: [] }, recorded)).toMatchObject({
      kind: 'hold',
      detail: 'Found 0 routes in vpc-b, but rules are in force. The rules in force are kept.',
    });
  });

  const madeOf = (routes: number): Partial<Node> => ({
    recorded: { ruleSetId: 'a'.repeat(64), isProven: true, routes },
  });
  const found = (count: number) => ({
    routes: Array.from({ length: count }, (_, index) => peering(`10.${64 + 2 * index}.0.0/16`)),
  });

  test.each([
    [10, 4, 'hold'],
    [10, 5, 'rule-set'],
    [3, 1, 'hold'],
    [2, 1, 'rule-set'],
    [1, 0, 'hold'],
    [0, 0, 'rule-set'],
  ])('if the number of routes changes from %i to %i, the result is: %s', (before, after, kind) => {
    expect(planWith('masquerade: [peerings]', found(after), madeOf(before)).kind).toBe(kind);
  });

  test('holds a plan after route loss even if the config also lists ranges', () => {
    const settings = 'masquerade: [peerings, {cidr: 10.32.0.0/16}]';
    expect(planWith(settings, found(0), madeOf(3))).toMatchObject({
      kind: 'hold',
      detail: 'Found 0 routes in vpc-b, down from 3. The rules in force are kept.',
    });
  });

  test('does not hold a plan with allowRouteLoss', () => {
    const result = planWith('masquerade: [peerings]', found(0), { ...madeOf(3), allowRouteLoss: true });
    expect(rules(result).filter((line) => line.startsWith('masquerade'))).toEqual([]);
  });

  test('skips routes of a peering that is being set up, with a warning', () => {
    const routes = [{ ...peering('10.193.0.0/16'), state: 'provisioning' as const }];
    const result = planWith('masquerade: [peerings]', { routes });
    expect(result.kind === 'rule-set' ? [] : result.warnings.map(({ code }) => code)).toContain(
      'provisioning',
    );
  });

  test.each([
    ['the config no longer has destinations', 'masquerade: []', {}],
    ['peers now have routes to the pods', 'masquerade: [peerings]', routedPods],
  ] satisfies [string, string, Partial<NetworkContext>][])(
    'removes rules when %s',
    (_, settings, changes) => {
      const result = planWith(settings, changes, recorded);
      expect(rules(result).filter((line) => line.startsWith('masquerade'))).toEqual([]);
    },
  );

  test.each([
    ['the config now exempts every route', 'except: [10.193.0.0/16], masquerade: [peerings]', {}],
    [
      'a range that the config lists remains as a destination',
      'masquerade: [peerings, {cidr: 10.64.0.0/16}]',
      { routes: [] },
    ],
  ] satisfies [string, string, Partial<NetworkContext>][])(
    'does not hold the plan when %s',
    (_, settings, changes) => {
      expect(planWith(settings, changes, recorded).kind).toBe('rule-set');
    },
  );

  test('holds a plan with more destinations than a node accepts', () => {
    const routes = Array.from({ length: 10_001 }, (_, index) =>
      peering(`100.${index >> 7}.${(index & 127) * 2}.0/24`),
    );
    expect(planWith('masquerade: [peerings]', { routes })).toMatchObject({
      kind: 'hold',
      detail: expect.stringContaining('10001 destinations'),
    });
  });

  test('masquerades pods whose ranges are known only from the config, because peers have no routes to these pods', () => {
    const settings = 'pods: [172.16.0.0/16], masquerade: [peerings]';
    expect(rules(planWith(settings, routedPods))).toContain('masquerade 10.193.0.0/16 to-backend');
  });
});
