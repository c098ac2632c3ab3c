import { describe, expect, test } from '@jest/globals';
import { parseCidr } from '../../../shared/core/model/cidr';
import { parseConfig, type Config } from '../../../shared/core/model/config';
import type { Node, Route, NetworkContext } from '../../../shared/core/model/node';
import { checkEligibility } from '../../../shared/core/reconcile/check-eligibility';
import { plan, type Plan } from '../../../shared/core/reconcile/plan';
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

const networkContext: NetworkContext = {
  network: 'vpc-b',
  networkRanges: [parseCidr('10.209.0.0/16')],
  podRanges: [],
  arePodsRouted: false,
  routes: [peering('10.193.0.0/16')],
  discoveredKinds: ['peerings', 'vpn', 'transit-gateways'],
};

const configOf = (settings: string): Config => parseConfig(`clusters: {frontend: {${settings}}}`);

function planWith(
  settings: string,
  changes: Partial<NetworkContext> = {},
  self: Partial<Node> = {},
  allowRouteLoss = false,
): Plan {
  const [cluster] = configOf(settings).clusters;
  if (!cluster) throw new Error('no cluster');
  return plan(
    { ...node, ...self },
    cluster,
    { ...networkContext, ...changes },
    1795295818468,
    allowRouteLoss,
  );
}

/** The rule set's lines behind the header and the generation. */
function rules(result: Plan): string[] {
  if (result.kind !== 'rule-set') throw new Error(`a ${result.kind}, not a rule set`);
  return printRuleSet(result.ruleSet).trimEnd().split('\n').slice(2);
}

const warnings = (result: Plan): string[] => result.warnings.map(({ code }) => code);

describe('checkEligibility', () => {
  const config = configOf('masquerade: [peerings]');

  test.each([
    [{ clusters: [] }, 'no-cluster', 'name no cluster'],
    [{ clusters: ['a', 'b'] }, 'ambiguous-cluster', 'several clusters: a, b'],
    [{ clusters: ['other'] }, 'not-configured', 'no entry for cluster other'],
    [{ state: 'stopped' }, 'not-running', 'It is stopped'],
    [{ state: 'gone' }, 'not-running', 'It is gone'],
    [{ platform: 'windows' }, 'windows', 'no iptables'],
    [{ platform: 'bottlerocket' }, 'bottlerocket', 'no iptables'],
  ] satisfies [Partial<Node>, string, string][])('%j is skipped: %s', (self, reason, detail) => {
    expect(checkEligibility({ ...node, ...self }, config)).toMatchObject({
      kind: 'skip',
      reason,
      detail: expect.stringContaining(detail),
    });
  });

  test.each([{ state: 'running' }, { state: 'starting' }] satisfies Partial<Node>[])(
    '%j is admitted',
    (self) => {
      expect(checkEligibility({ ...node, ...self }, config)).toMatchObject({
        kind: 'eligible',
        cluster: { name: 'frontend' },
      });
    },
  );
});

describe('a node of the control plane', () => {
  const master = { ...node, isControlPlane: true };

  test('is served like any other', () => {
    expect(checkEligibility(master, configOf('masquerade: [peerings]')).kind).toBe('eligible');
  });

  test('is skipped where the config leaves it out', () => {
    expect(checkEligibility(master, configOf('control-plane: false, masquerade: [peerings]'))).toMatchObject({
      kind: 'skip',
      reason: 'control-plane',
    });
  });
});

describe('the rule set', () => {
  test('of the first write-up: what the peering routes, from pods, except to pods, services and the own network', () => {
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

  test.each([
    [
      'ranges of the config',
      'masquerade: [{cidr: 10.64.0.0/16, name: hq}]',
      {},
      ['masquerade 10.64.0.0/16 hq'],
    ],
    [
      'only the kinds that are asked for',
      'masquerade: [vpn]',
      { routes: [peering('10.1.0.0/16'), { ...peering('10.2.0.0/16', 'vgw-1'), kind: 'vpn' }] },
      ['masquerade 10.2.0.0/16 vgw-1'],
    ],
    [
      'IPv6 beside IPv4',
      'masquerade: [peerings]',
      { routes: [peering('fd12::/48'), peering('10.1.0.0/16')] },
      ['masquerade 10.1.0.0/16 to-backend', 'masquerade fd12::/48 to-backend'],
    ],
    [
      'neighbours as one range, named after each other',
      'masquerade: [peerings]',
      {
        routes: [
          peering('10.2.0.0/16', 'pcx-b'),
          peering('10.3.0.0/16', 'pcx-a'),
          peering('10.3.1.0/24', 'pcx-c'),
        ],
      },
      ['masquerade 10.2.0.0/15 pcx-a/and-2-more'],
    ],
    [
      'a range inside another under the wider one’s name',
      'masquerade: [peerings, {cidr: 10.2.7.0/24, name: aa}]',
      { routes: [peering('10.2.0.0/16', 'pcx-b')] },
      ['masquerade 10.2.0.0/16 pcx-b'],
    ],
    [
      'hostile names made harmless',
      'masquerade: [peerings]',
      { routes: [peering('10.2.0.0/16', 'x"; reboot #')] },
      ['masquerade 10.2.0.0/16 x---reboot--'],
    ],
  ] satisfies [string, string, Partial<NetworkContext>, string[]][])(
    'has %s',
    (_, settings, changes, expected) => {
      expect(rules(planWith(settings, { networkRanges: [], ...changes }))).toEqual(expected);
    },
  );

  test('has the options of the config, and the pod ranges that the cloud knows', () => {
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

  test('tells where each destination comes from', () => {
    const result = planWith('masquerade: [peerings, {cidr: 10.192.0.0/16, name: hq}]');
    expect(result).toMatchObject({
      provenance: [
        { cidr: { text: '10.192.0.0/15' }, from: [{ from: 'config' }, { from: { via: 'to-backend' } }] },
      ],
    });
  });

  test('has only exemptions and sources of the families that it masquerades, and each probe once', () => {
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

  test('has the same id for every generation and every order of routes', () => {
    const routes = [peering('10.1.0.0/16', 'a'), peering('10.64.0.0/16', 'b'), peering('10.2.0.0/15', 'c')];
    const one = planWith('masquerade: [peerings]', { routes });
    const other = planWith('masquerade: [peerings]', { routes: routes.toReversed() });
    expect(one).toMatchObject({ id: expect.stringMatching(/^[0-9a-f]{64}$/) });
    expect(rules(other)).toEqual(rules(one));
  });
});

describe('what is left out is said', () => {
  test.each([
    ['no pod range is known', 'masquerade: [peerings]', {}, ['any-source']],
    [
      'a default route through a gateway',
      'pods: [10.132.0.0/14], masquerade: [vpn, peerings]',
      { routes: [peering('10.1.0.0/16'), { ...peering('0.0.0.0/0', 'tgw-1'), kind: 'vpn' }] },
      ['reserved-range'],
    ],
    [
      'a route that leads nowhere',
      'pods: [10.132.0.0/14], masquerade: [peerings]',
      { routes: [peering('10.1.0.0/16'), { ...peering('10.2.0.0/16'), state: 'blackhole' }] },
      ['blackhole'],
    ],
    [
      'a route that is no range',
      'pods: [10.132.0.0/14], masquerade: [peerings]',
      { routes: [peering('10.1.0.0/16'), peering('pl-0123; reboot')] },
      ['unreadable-route'],
    ],
    [
      'a destination inside the own network',
      'pods: [10.132.0.0/14], masquerade: [peerings]',
      { routes: [peering('10.1.0.0/16'), peering('10.209.4.0/24')] },
      ['destination-exempt'],
    ],
    [
      'a destination that several exemptions cover together',
      'pods: [10.132.0.0/14], except: [10.2.0.0/17, 10.2.128.0/17], masquerade: [peerings]',
      { routes: [peering('10.1.0.0/16'), peering('10.2.0.0/16')] },
      ['destination-exempt'],
    ],
    [
      'a destination around the own network, which stays exempt',
      'pods: [10.132.0.0/14], masquerade: [peerings]',
      { routes: [peering('10.208.0.0/15')] },
      ['destination-overlaps'],
    ],
    [
      'a probe that nothing masquerades to',
      'pods: [10.132.0.0/14], masquerade: [peerings], probe: ["10.64.0.1:80", "10.193.0.1:80"]',
      {},
      ['probe-not-masqueraded'],
    ],
    [
      'a kind of which there is no route',
      'pods: [10.132.0.0/14], masquerade: [peerings, vpn]',
      {},
      ['no-routes-found'],
    ],
    [
      'a destination of a family that has no pods',
      'pods: [10.132.0.0/14], masquerade: [peerings]',
      { routes: [peering('10.193.0.0/16'), peering('fd12::/48')] },
      ['no-pod-range-in-family'],
    ],
    [
      'a kind that the cloud cannot look up',
      'pods: [10.132.0.0/14], masquerade: [peerings, vpn]',
      { discoveredKinds: ['peerings'] },
      ['kind-not-discovered'],
    ],
  ] satisfies [string, string, Partial<NetworkContext>, string[]][])('%s', (_, settings, changes, codes) => {
    const result = planWith(settings, changes);
    expect(warnings(result)).toEqual(codes);
    expect(rules(result).filter((line) => line.startsWith('masquerade'))).toHaveLength(1);
  });
});

describe('with no destination', () => {
  const recorded = { recorded: { ruleSetId: 'a'.repeat(64), isProven: true } };
  const routed = { arePodsRouted: true, podRanges: [parseCidr('10.132.0.0/14')] };

  test('pods that peers have routes to are masqueraded towards a VPN alone, and the plan says why', () => {
    const overVpn: Route = { kind: 'vpn', via: 'to-aws', destination: '172.20.0.0/16', state: 'active' };
    const routes = [peering('10.193.0.0/16'), overVpn];
    const result = planWith('masquerade: [peerings, vpn]', { ...routed, routes });
    expect(rules(result).filter((line) => line.startsWith('masquerade'))).toEqual([
      'masquerade 172.20.0.0/16 to-aws',
    ]);
    expect(result.warnings).toContainEqual({
      code: 'pods-routed',
      detail: 'Towards peerings nothing is masqueraded: not needed, they have routes to the pods.',
    });
  });

  test.each([
    [
      'a node that never had rules is skipped',
      'masquerade: [peerings]',
      { routes: [] },
      {},
      'nothing-to-masquerade',
    ],
    ['pods that peers have routes to need none', 'masquerade: [peerings]', routed, {}, 'pods-routed'],
  ] satisfies [string, string, Partial<NetworkContext>, Partial<Node>, string][])(
    '%s',
    (_, settings, changes, self, reason) => {
      expect(planWith(settings, changes, self)).toMatchObject({ kind: 'skip', reason });
    },
  );

  test('rules that discovery no longer explains stay in force', () => {
    expect(planWith('masquerade: [peerings]', { routes: [] }, recorded)).toMatchObject({
      kind: 'hold',
      detail: '0 routes were found in vpc-b, where there were some; the rules in force stay.',
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
  ])('rules made of %i routes, of which %i are left: %s', (before, after, kind) => {
    expect(planWith('masquerade: [peerings]', found(after), madeOf(before)).kind).toBe(kind);
  });

  test('ranges that the config itself names do not hide the loss', () => {
    const settings = 'masquerade: [peerings, {cidr: 10.32.0.0/16}]';
    expect(planWith(settings, found(0), madeOf(3))).toMatchObject({
      kind: 'hold',
      detail: '0 routes were found in vpc-b, where there were 3; the rules in force stay.',
    });
  });

  test('a loss that is meant is not held', () => {
    const result = planWith('masquerade: [peerings]', found(0), madeOf(3), true);
    expect(rules(result).filter((line) => line.startsWith('masquerade'))).toEqual([]);
  });

  test('a route over a peering that is being set up is none yet, and is told', () => {
    const routes = [{ ...peering('10.193.0.0/16'), state: 'provisioning' as const }];
    const result = planWith('masquerade: [peerings]', { routes });
    expect(result.kind === 'rule-set' ? [] : result.warnings.map(({ code }) => code)).toContain(
      'provisioning',
    );
  });

  test.each([
    ['the config no longer asks for any', 'masquerade: []', {}],
    ['peers now have routes to the pods', 'masquerade: [peerings]', routed],
  ] satisfies [string, string, Partial<NetworkContext>][])(
    'rules are taken away when %s',
    (_, settings, changes) => {
      const result = planWith(settings, changes, recorded);
      expect(rules(result).filter((line) => line.startsWith('masquerade'))).toEqual([]);
    },
  );

  test.each([
    ['the config now exempts all that is found', 'except: [10.193.0.0/16], masquerade: [peerings]', {}],
    ['a range of the config stays', 'masquerade: [peerings, {cidr: 10.64.0.0/16}]', { routes: [] }],
  ] satisfies [string, string, Partial<NetworkContext>][])(
    'rules are not held when %s',
    (_, settings, changes) => {
      expect(planWith(settings, changes, recorded).kind).toBe('rule-set');
    },
  );

  test('more destinations than a node takes are held, not cut', () => {
    const routes = Array.from({ length: 10_001 }, (_, index) =>
      peering(`100.${index >> 7}.${(index & 127) * 2}.0/24`),
    );
    expect(planWith('masquerade: [peerings]', { routes })).toMatchObject({
      kind: 'hold',
      detail: expect.stringContaining('10001 destinations'),
    });
  });

  test('pods that only the config tells of are not routed by peers', () => {
    const settings = 'pods: [172.16.0.0/16], masquerade: [peerings]';
    expect(rules(planWith(settings, routed))).toContain('masquerade 10.193.0.0/16 to-backend');
  });
});
