import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { parseAddress } from '../../../shared/core/model/cidr';
import type { Check, CheckName } from '../../../shared/core/doctor/check';
import { getClients } from '../../../shared/gcp/client/clients';
import { makeNodes } from '../../../shared/gcp/discover/nodes';
import { makeReach } from '../../../shared/gcp/reach/reach';
import { startLocalGcp, type LocalGcp } from '../../lab/gcp/cloud';
import {
  addVm,
  networkUrl,
  subnetworkUrl,
  type LabFirewall,
  type LabFirewallPolicy,
  type GcpState,
  type LabNetwork,
  type LabVm,
} from '../../lab/gcp/state';

const [mine, theirs] = ['identity-nonprod', 'backend-prod'];
const region = 'europe-west1';

let lab: LocalGcp;
let cloud: GcpState;
let node: LabVm;
let [own, peer]: [LabNetwork, LabNetwork] = [makeNetworks().own, makeNetworks().peer];

beforeAll(async () => {
  lab = await startLocalGcp();
  cloud = lab.cloud;
  Object.assign(process.env, lab.env);
  addVm(cloud);
  await makeNodes(getClients(), { projects: [mine], isUpToDate: () => true }).list(['*'], inSeconds(60));
}, 60_000);
afterAll(() => lab.close());

const inSeconds = (seconds: number) => Date.now() + seconds * 1_000;

function makeNetworks(): { own: LabNetwork; peer: LabNetwork } {
  const subnetRoute = (destRange: string) =>
    ({ destRange, imported: true, type: 'SUBNET_PEERING_ROUTE' }) as const;
  return {
    own: {
      project: mine,
      name: 'vpc-b',
      peerings: [{ name: 'to-backend', state: 'ACTIVE', network: networkUrl(theirs, 'vpc-a') }],
      routes: { [`to-backend/${region}`]: [subnetRoute('10.193.0.0/16')] },
    },
    peer: {
      project: theirs,
      name: 'vpc-a',
      peerings: [{ name: 'to-frontend', state: 'ACTIVE', network: networkUrl(mine, 'vpc-b') }],
      routes: { [`to-frontend/${region}`]: [subnetRoute('10.209.0.0/16')] },
    },
  };
}

const allowRule: LabFirewall = {
  project: theirs,
  name: 'allow-frontend',
  network: 'vpc-a',
  direction: 'INGRESS',
  allowed: [{ IPProtocol: 'tcp', ports: ['32000-32767'] }],
  sourceRanges: ['10.209.0.0/16'],
};

/** The first write-up: a node in vpc-b, and in vpc-a an internal load balancer, 10.193.0.3:32191. */
beforeEach(() => {
  ({ own, peer } = makeNetworks());
  Object.assign(cloud, {
    projects: {
      [mine]: { number: '1', metadata: [] },
      [theirs]: { number: '2', metadata: [] },
    },
    vms: [],
    networks: [own, peer],
    subnetworks: [
      { project: mine, region, name: 'vpc-b', network: 'vpc-b', ipCidrRange: '10.209.0.0/16' },
      { project: theirs, region, name: 'vpc-a', network: 'vpc-a', ipCidrRange: '10.193.0.0/16' },
    ],
    routes: [mine, theirs].map((project) => ({
      project,
      name: 'default',
      network: project === mine ? 'vpc-b' : 'vpc-a',
      destRange: '0.0.0.0/0',
      nextHopGateway: `https://www.googleapis.com/compute/v1/projects/${project}/global/gateways/default-internet-gateway`,
    })),
    routers: [],
    firewalls: [{ ...allowRule }],
    forwardingRules: [
      {
        project: theirs,
        region,
        name: 'backend',
        network: 'vpc-a',
        IPAddress: '10.193.0.3',
        IPProtocol: 'TCP',
        loadBalancingScheme: 'INTERNAL',
        ports: ['32191'],
      },
    ],
    injectedErrors: [],
    calls: [],
  } satisfies Partial<GcpState>);
  node = addVm(cloud, {
    name: 'node-1',
    project: mine,
    tags: ['frontend'],
    networkInterfaces: [
      {
        network: networkUrl(mine, 'vpc-b'),
        subnetwork: subnetworkUrl(mine, region, 'vpc-b'),
        networkIP: '10.209.0.2',
      },
    ],
  });
});

interface Given {
  readonly source?: string;
  readonly destination?: string;
  readonly port?: number;
}

async function checksOf({ source = '10.209.0.2', destination = '10.193.0.3', port = 32191 }: Given = {}) {
  const ref = { cloud: 'gcp', project: node.project, zone: node.zone, id: node.id } as const;
  const [found] = await makeNodes(getClients(), { projects: [], isUpToDate: () => true }).get([ref], inSeconds(10));
  if (!found) throw new Error('no node');
  const connection = {
    node: found,
    source: parseAddress(source),
    destination: parseAddress(destination),
    port,
  };
  return makeReach(getClients()).checks(connection, inSeconds(10));
}

const statesOf = (checks: readonly Check[]) => checks.map(({ state }) => state).join(' ');
const checkOf = (checks: readonly Check[], name: CheckName) => checks.find((check) => check.name === name);
const firstBroken = (checks: readonly Check[]) => checks.find(({ state }) => state === 'broken');
const containing = (text: string) => expect.stringContaining(text) as unknown;

const policy = (
  overrides: Partial<LabFirewallPolicy['rules'][number]>,
  type: LabFirewallPolicy['type'] = 'HIERARCHY',
) => ({
  type,
  name: '123456789012',
  shortName: 'org-rules',
  rules: [
    {
      priority: 100,
      action: 'deny' as const,
      direction: 'INGRESS' as const,
      match: { srcIpRanges: ['10.0.0.0/8'], layer4Configs: [{ ipProtocol: 'all' }] },
      ...overrides,
    },
  ],
});

type PolicyRule = LabFirewallPolicy['rules'][number];

const policies = (rules: readonly Omit<PolicyRule, 'direction'>[]): LabFirewallPolicy => ({
  ...policy({}),
  rules: rules.map((rule) => ({ direction: 'INGRESS', ...rule })),
});

const delegatedTo = (domain: string, priority = 100) => ({
  priority,
  action: 'goto_next' as const,
  match: { srcFqdns: [domain], layer4Configs: [] },
});

const deny = (overrides: Partial<LabFirewall>): LabFirewall => ({
  project: mine,
  name: 'no-way',
  network: 'vpc-b',
  direction: 'EGRESS',
  denied: [{ IPProtocol: 'all' }],
  destinationRanges: ['10.193.0.0/16'],
  ...overrides,
});

test('of the write-up everything is as it should be, each thing asked for once', async () => {
  const checks = await checksOf();
  expect(checks.map(({ name }) => name)).toEqual([
    'peering',
    'forward-route',
    'return-route',
    'node-firewall',
    'peer-firewall',
  ]);
  expect(checks).toMatchObject([
    {
      state: 'ok',
      evidence: [
        'Peering to-backend of network vpc-b of identity-nonprod is ACTIVE (Connected).',
        'Peering to-frontend of network vpc-a of backend-prod is ACTIVE.',
      ],
    },
    {
      state: 'ok',
      evidence: [
        'network vpc-b of identity-nonprod routes 10.193.0.0/16: subnet route of peering to-backend.',
      ],
    },
    { state: 'ok', evidence: [containing('routes 10.209.0.0/16: subnet route of peering to-frontend')] },
    {
      state: 'ok',
      evidence: ['No rule denies tcp:32191 to 10.193.0.3: egress is allowed where no rule says otherwise.'],
    },
    {
      state: 'ok',
      evidence: [
        'Forwarding rule backend of backend-prod in europe-west1 has 10.193.0.3.',
        'VPC firewall rule allow-frontend (priority 1000) of network vpc-a of backend-prod allows tcp:32191 from 10.209.0.2.',
      ],
    },
  ]);
  expect(
    cloud.calls.filter((call) => /networks.get$|listPeeringRoutes|firewalls/i.test(call)).sort(),
  ).toEqual([
    'compute.instances.getEffectiveFirewalls',
    'compute.networks.get',
    'compute.networks.get',
    'compute.networks.getEffectiveFirewalls',
    'compute.networks.listPeeringRoutes',
    'compute.networks.listPeeringRoutes',
  ]);
});

describe('the link that is broken first, and what mends it', () => {
  const create =
    'gcloud compute networks peerings create to-vpc-b --project backend-prod --network vpc-a --peer-project identity-nonprod --peer-network vpc-b';
  const peering = (side: LabNetwork) => side.peerings[0] ?? { name: '', state: 'INACTIVE', network: '' };
  const routesOf = (side: LabNetwork) => Object.values(side.routes)[0] ?? [];

  test.each<[string, () => void, CheckName, string, string | undefined, Given?]>([
    [
      'the peering is not there on the other side',
      () => {
        peering(own).state = 'INACTIVE';
        peer.peerings = [];
      },
      'peering',
      'Peering to-backend of network vpc-b of identity-nonprod is INACTIVE (Waiting for peer network to connect).',
      create,
    ],
    [
      'the peering is pending, and the other side may not be seen',
      () => {
        peering(own).state = 'INACTIVE';
        cloud.injectedErrors.push({
          method: 'compute.networks.get',
          project: theirs,
          kind: 'permission',
          times: 9,
        });
      },
      'peering',
      "Required 'compute.networks.get' permission for 'projects/backend-prod/global/networks/vpc-a'",
      create,
    ],
    [
      'the peering of the other side is not active',
      () => {
        peering(peer).state = 'INACTIVE';
      },
      'peering',
      'Peering to-frontend of network vpc-a of backend-prod is INACTIVE.',
      'gcloud compute networks peerings delete to-frontend --project backend-prod --network vpc-a && ' +
        create.replace('to-vpc-b', 'to-frontend'),
    ],
    [
      'no peering leads there',
      () => {
        own.peerings = [];
      },
      'peering',
      'No peering of network vpc-b of identity-nonprod is known to lead to a network that has 10.193.0.3.',
      'gcloud compute networks peerings list --project identity-nonprod --network vpc-b',
    ],
    [
      'a route is not exported',
      () => {
        own.routes = {};
        Object.assign(peering(own), { importCustomRoutes: true });
        cloud.routes.push({
          project: theirs,
          name: 'to-office',
          network: 'vpc-a',
          destRange: '10.77.0.0/16',
          nextHopIp: '10.193.0.9',
        });
      },
      'forward-route',
      'Peering to-frontend of network vpc-a of backend-prod exports custom routes: no.',
      'gcloud compute networks peerings update to-frontend --project backend-prod --network vpc-a --export-custom-routes',
      { destination: '10.77.0.1' },
    ],
    [
      'a route is not imported',
      () => {
        routesOf(own).push({ destRange: '10.77.0.0/16', imported: false, type: 'STATIC_PEERING_ROUTE' });
        Object.assign(peering(peer), { exportCustomRoutes: true });
      },
      'forward-route',
      'It is offered 10.77.0.0/16, and does not import it: static route of peering to-backend.',
      'gcloud compute networks peerings update to-backend --project identity-nonprod --network vpc-b --import-custom-routes',
      { destination: '10.77.0.1' },
    ],
    [
      'the peering has no route there, and the default route leads to the internet',
      () => {
        own.routes = {};
        for (const one of [peering(own), peering(peer)])
          Object.assign(one, { importCustomRoutes: true, exportCustomRoutes: true });
      },
      'forward-route',
      'the best that holds 10.193.0.3 is for 0.0.0.0/0 and leads nowhere near it: static route default, into the default internet gateway.',
      undefined,
    ],
    [
      'a peering has IPv4 alone',
      () => {
        Object.assign(cloud.subnetworks[1] ?? {}, { internalIpv6Prefix: 'fd20:1::/64' });
        for (const one of [peering(own), peering(peer)])
          Object.assign(one, { importCustomRoutes: true, exportCustomRoutes: true });
        Object.assign(peering(peer), { stackType: 'IPV4_IPV6' });
      },
      'forward-route',
      'No route of network vpc-b of identity-nonprod holds fd20:1::3.',
      'gcloud compute networks peerings update to-backend --project identity-nonprod --network vpc-b --stack-type IPV4_IPV6',
      { source: 'fd20:2::2', destination: 'fd20:1::3' },
    ],
    [
      'there is no route back',
      () => {
        peer.routes = {};
      },
      'return-route',
      'and leads nowhere near it: static route default, into the default internet gateway.',
      'gcloud compute networks peerings list-routes to-frontend --project backend-prod --network vpc-a --region europe-west1 --direction INCOMING',
    ],
    [
      'there is no route back to a pod, nor any to it in its own network',
      () => undefined,
      'return-route',
      'Neither does one of network vpc-b of identity-nonprod: nobody can answer it.',
      undefined,
      { source: '10.132.0.10' },
    ],
    [
      'the route to a pod is not given to the peer',
      () => {
        cloud.routes.push({
          project: mine,
          name: 'gke-frontend-1',
          network: 'vpc-b',
          destRange: '10.132.0.0/24',
          nextHopInstance: 'projects/identity-nonprod/zones/europe-west1-c/instances/node-1',
        });
      },
      'return-route',
      'network vpc-b of identity-nonprod routes 10.132.0.0/24: static route gke-frontend-1, into node-1.',
      'gcloud compute networks peerings update to-backend --project identity-nonprod --network vpc-b --export-custom-routes && gcloud compute networks peerings update to-frontend --project backend-prod --network vpc-a --import-custom-routes',
      { source: '10.132.0.10' },
    ],
    [
      'the node may not send it',
      () => {
        cloud.firewalls.push(deny({ priority: 900 }));
      },
      'node-firewall',
      'VPC firewall rule no-way (priority 900) of network vpc-b of identity-nonprod denies tcp:32191 to 10.193.0.3.',
      'gcloud compute firewall-rules create peermasq-egress-tcp-32191 --project identity-nonprod --network vpc-b --direction EGRESS --action allow --rules tcp:32191 --destination-ranges 10.193.0.3/32 --priority 899',
    ],
    [
      'the node may send nothing at all, by a rule before which there is none',
      () => {
        cloud.firewalls.push(deny({ priority: 0 }));
      },
      'node-firewall',
      'VPC firewall rule no-way (priority 0)',
      'gcloud compute firewall-rules update no-way --project identity-nonprod --disabled',
    ],
    [
      'no rule of the peer lets it in',
      () => {
        cloud.firewalls = [];
      },
      'peer-firewall',
      'No rule allows tcp:32191 from 10.209.0.2: ingress is denied where no rule says otherwise.',
      'gcloud compute firewall-rules create peermasq-ingress-tcp-32191 --project backend-prod --network vpc-a --direction INGRESS --action allow --rules tcp:32191 --source-ranges 10.209.0.0/16 --priority 1000',
    ],
    [
      'the rule of the peer is disabled',
      () => {
        Object.assign(cloud.firewalls[0] ?? {}, { disabled: true });
      },
      'peer-firewall',
      'VPC firewall rule allow-frontend of network vpc-a of backend-prod would allow it, and is disabled.',
      'gcloud compute firewall-rules update allow-frontend --project backend-prod --no-disabled',
    ],
    [
      'an organisation denies what the network allows',
      () => {
        peer.firewallPolicies = [policy({})];
      },
      'peer-firewall',
      'Rule 100 of firewall policy org-rules (HIERARCHY) denies tcp:32191 from 10.209.0.2.',
      'gcloud compute firewall-policies rules create 99 --firewall-policy 123456789012 --direction INGRESS --action allow --layer4-configs tcp:32191 --src-ip-ranges 10.209.0.0/16',
    ],
    [
      'a policy of the network denies it, and is asked first',
      () => {
        peer.networkFirewallPolicyEnforcementOrder = 'BEFORE_CLASSIC_FIREWALL';
        peer.firewallPolicies = [{ ...policy({}, 'NETWORK'), name: 'strict', shortName: 'strict' }];
      },
      'peer-firewall',
      'Rule 100 of firewall policy strict (NETWORK) denies tcp:32191 from 10.209.0.2.',
      'gcloud compute network-firewall-policies rules create 99 --firewall-policy strict --global-firewall-policy --project backend-prod --direction INGRESS --action allow --layer4-configs tcp:32191 --src-ip-ranges 10.209.0.0/16',
    ],
    [
      'the load balancer is for another region alone',
      () => {
        Object.assign(cloud.forwardingRules[0] ?? {}, { region: 'us-east1' });
      },
      'peer-firewall',
      'It is for clients in its own region, and the node is in europe-west1.',
      'gcloud compute forwarding-rules update backend --project backend-prod --region us-east1 --allow-global-access',
    ],
    [
      'the load balancer does not forward the port',
      () => undefined,
      'peer-firewall',
      'It does not forward tcp:443.',
      'gcloud compute forwarding-rules describe backend --project backend-prod --region europe-west1',
      { port: 443 },
    ],
  ])('%s', async (_, breakIt, name, evidence, fix, given = {}) => {
    breakIt();
    const broken = firstBroken(await checksOf(given));
    expect(broken?.name).toBe(name);
    expect(broken?.evidence.join('\n')).toContain(evidence);
    expect(broken?.fix).toBe(fix);
  });
});

test('a public destination that nothing leads to is named so, and no peering is to be made', async () => {
  cloud.routes = [];
  const checks = await checksOf({ destination: '8.8.8.8' });
  expect(checkOf(checks, 'peering')).toEqual({
    name: 'peering',
    state: 'not-needed',
    evidence: ['8.8.8.8 is a public address: a gateway to the internet leads to it, and no peering.'],
  });
  expect(checkOf(checks, 'forward-route')).toMatchObject({ state: 'broken' });
  expect(checkOf(checks, 'forward-route')?.fix).toBeUndefined();
});

describe('firewall rules', () => {
  const target = () =>
    addVm(cloud, {
      name: 'database',
      project: theirs,
      tags: ['db'],
      serviceAccounts: [{ email: 'db@backend-prod.iam.gserviceaccount.com' }],
      networkInterfaces: [
        {
          network: networkUrl(theirs, 'vpc-a'),
          subnetwork: subnetworkUrl(theirs, region, 'vpc-a'),
          networkIP: '10.193.0.7',
        },
      ],
    });
  const rule = (overrides: Partial<LabFirewall>): LabFirewall => ({
    ...allowRule,
    name: 'another',
    ...overrides,
  });
  const denyRule = (overrides: Partial<LabFirewall>): LabFirewall => {
    const { allowed, ...rest } = allowRule;
    return { ...rest, name: 'deny', denied: allowed ?? [], ...overrides };
  };

  test.each<[string, LabFirewall[], Check['state']]>([
    ['of equals the one that denies counts', [rule({}), denyRule({})], 'broken'],
    ['the lower number counts', [rule({ priority: 10 }), denyRule({ priority: 20 })], 'ok'],
    ['those that are disabled do not', [rule({}), denyRule({ priority: 1, disabled: true })], 'ok'],
    ['for its tag', [rule({ targetTags: ['db'] })], 'ok'],
    ['for another tag', [rule({ targetTags: ['web'] })], 'broken'],
    ['for its account', [rule({ targetServiceAccounts: ['db@backend-prod.iam.gserviceaccount.com'] })], 'ok'],
    ['for another port', [rule({ allowed: [{ IPProtocol: 'tcp', ports: ['80', '443'] }] })], 'broken'],
    ['for another protocol', [rule({ allowed: [{ IPProtocol: 'udp' }] })], 'broken'],
    ['for TCP by its number', [rule({ allowed: [{ IPProtocol: '6' }] })], 'ok'],
    ['for other sources', [rule({ sourceRanges: ['10.132.0.0/14'] })], 'broken'],
    [
      'for a source tag, which says nothing of peers',
      [rule({ sourceRanges: [], sourceTags: ['frontend'] })],
      'broken',
    ],
    ['for other destinations', [rule({ destinationRanges: ['10.193.9.0/24'] })], 'broken'],
    ['of the other direction', [rule({ direction: 'EGRESS', sourceRanges: [] })], 'broken'],
  ])('for an instance: %s', async (_, rules, state) => {
    target();
    cloud.firewalls = rules;
    const check = checkOf(await checksOf({ destination: '10.193.0.7' }), 'peer-firewall');
    expect(check?.state).toBe(state);
    expect(check?.evidence).toContain('Instance database of backend-prod has 10.193.0.7.');
  });

  test.each<[string, LabFirewallPolicy[], Check['state']]>([
    ['that allows ends the search', [policy({ action: 'allow' })], 'ok'],
    ['that passes on leaves it to the next', [policy({ action: 'goto_next' })], 'broken'],
    ['that is disabled is none', [policy({ action: 'allow', disabled: true })], 'broken'],
    ['for proxies alone is none', [policy({ action: 'allow', targetType: 'INTERNAL_MANAGED_LB' })], 'broken'],
    [
      'for the internet is none',
      [
        policy({
          action: 'allow',
          match: { srcNetworkType: 'INTERNET', layer4Configs: [{ ipProtocol: 'tcp' }] },
        }),
      ],
      'broken',
    ],
    [
      'by a domain name cannot be told',
      [
        policy({
          action: 'allow',
          match: { srcFqdns: ['a.example'], layer4Configs: [{ ipProtocol: 'tcp' }] },
        }),
      ],
      'unknown',
    ],
    [
      'that passes on by a domain name, and else allows, cannot be told',
      [
        policies([
          delegatedTo('a.example'),
          { priority: 200, action: 'allow', match: { layer4Configs: [] } },
        ]),
      ],
      'unknown',
    ],
    [
      'that has packets inspected cannot be told',
      [policy({ action: 'apply_security_profile_group' })],
      'unknown',
    ],
    ['of a network comes after the rules of the network', [policy({ action: 'allow' }, 'NETWORK')], 'ok'],
    [
      'of a folder comes after that of the organisation',
      [policy({ action: 'goto_next' }), policy({ action: 'allow' })],
      'ok',
    ],
  ])('a policy %s', async (_, policies, state) => {
    target();
    cloud.firewalls = [];
    peer.firewallPolicies = policies;
    expect(checkOf(await checksOf({ destination: '10.193.0.7' }), 'peer-firewall')?.state).toBe(state);
  });

  test('however many pass it on are told at once, and not all', async () => {
    target();
    const hundred = Array.from({ length: 100 }, (_, i) => delegatedTo(`${i}.example`, i));
    const maybe = hundred.map((one) => ({ ...one, action: 'deny' as const, priority: one.priority + 1_000 }));
    peer.firewallPolicies = Array.from({ length: 8 }, () => policies([...hundred, ...maybe]));
    const check = checkOf(await checksOf({ destination: '10.193.0.7' }), 'peer-firewall');
    expect(check?.state).toBe('unknown');
    expect(check?.evidence.length).toBeLessThan(20);
    expect(check?.evidence.at(-1)).toMatch(/^\d+ more rules may decide\.$/);
  });

  test('behind a load balancer say which instances they are for', async () => {
    cloud.firewalls = [rule({ targetTags: ['gke-backend'] })];
    const check = checkOf(await checksOf(), 'peer-firewall');
    expect(check?.state).toBe('ok');
    expect(check?.evidence).toContainEqual(
      containing('from 10.209.0.2, for instances with the tag gke-backend.'),
    );
    cloud.firewalls = [rule({}), denyRule({ targetTags: ['gke-backend'], priority: 1 })];
    expect(checkOf(await checksOf(), 'peer-firewall')?.state).toBe('unknown');
  });

  test('of whoever has the address, even where that is not found', async () => {
    const unknown = await checksOf({ destination: '10.193.0.99' });
    expect(checkOf(unknown, 'peer-firewall')).toMatchObject({
      state: 'ok',
      evidence: [containing('No instance and no forwarding rule'), containing('allow-frontend')],
    });
  });

  test('by source tags count in the own network', async () => {
    cloud.firewalls = [
      { ...allowRule, project: mine, network: 'vpc-b', sourceRanges: [], sourceTags: ['frontend'] },
    ];
    const checks = await checksOf({ destination: '10.209.0.99' });
    expect(statesOf(checks)).toBe('not-needed ok ok ok ok');
  });
});

describe('other ways than a peering', () => {
  const tunnel = (overrides = {}) => ({
    project: mine,
    name: 'to-office',
    network: 'vpc-b',
    destRange: '10.50.0.0/16',
    nextHopVpnTunnel: 'projects/identity-nonprod/regions/europe-west1/vpnTunnels/office',
    ...overrides,
  });

  test('are told, and what lies behind them is not known', async () => {
    cloud.routes.push(tunnel());
    const checks = await checksOf({ destination: '10.50.0.1' });
    expect(statesOf(checks)).toBe('not-needed ok unknown ok unknown');
    expect(checks[0]?.evidence).toEqual([
      'network vpc-b of identity-nonprod itself reaches 10.50.0.1: static route to-office, into office.',
    ]);
  });

  test.each<[string, () => void, string]>([
    [
      'the narrowest',
      () => {
        cloud.routes.push(tunnel({ destRange: '10.0.0.0/8', priority: 1, name: 'wide' }), tunnel());
      },
      'static route to-office',
    ],
    [
      'then by priority',
      () => {
        cloud.routes.push(tunnel({ priority: 900, name: 'better' }), tunnel());
      },
      'static route better',
    ],
    [
      'those for tags of the node',
      () => {
        cloud.routes.push(
          tunnel({ tags: ['backend'], priority: 1, name: 'not-ours' }),
          tunnel({ tags: ['frontend'], name: 'ours' }),
        );
      },
      'static route ours',
    ],
    [
      'what a router has learned',
      () => {
        cloud.routers.push({
          project: mine,
          region,
          name: 'r1',
          network: 'vpc-b',
          bestRoutes: [{ destRange: '10.50.0.0/16', nextHopVpnTunnel: 'x/office-1', routeStatus: 'ACTIVE' }],
          bestRoutesForRouter: [],
        });
      },
      'route learned over office-1',
    ],
  ])('%s', async (_, arrange, kind) => {
    arrange();
    const check = checkOf(await checksOf({ destination: '10.50.0.1' }), 'forward-route');
    expect(check).toMatchObject({ state: 'ok', evidence: [containing(kind)] });
  });

  test('subnet routes come before narrower ones', async () => {
    cloud.routes.push(tunnel({ destRange: '10.193.0.0/24', priority: 0 }));
    expect(statesOf(await checksOf())).toBe('ok ok ok ok ok');
  });
});

describe('what may not be seen', () => {
  const denied = (method: string, project = theirs) => {
    cloud.injectedErrors.push({ method, project, kind: 'permission', times: 99 });
  };

  test.each<[string, string, string, string, CheckName, string]>([
    [
      'the network of the peer',
      'compute.networks.get',
      theirs,
      'ok ok unknown ok ok',
      'return-route',
      'gcloud compute networks describe vpc-a --project backend-prod',
    ],
    [
      'the routes of the peer',
      'compute.networks.listPeeringRoutes',
      theirs,
      'ok ok unknown ok ok',
      'return-route',
      'gcloud compute networks peerings list-routes to-frontend --project backend-prod --network vpc-a --region europe-west1 --direction INCOMING',
    ],
    [
      'the rules of the peer',
      'compute.networks.getEffectiveFirewalls',
      theirs,
      'ok ok ok ok unknown',
      'peer-firewall',
      'gcloud compute networks get-effective-firewalls vpc-a --project backend-prod',
    ],
    [
      'the rules of the node',
      'compute.instances.getEffectiveFirewalls',
      mine,
      'ok ok ok unknown ok',
      'node-firewall',
      '',
    ],
    [
      'the own network',
      'compute.networks.get',
      mine,
      'unknown unknown unknown ok unknown',
      'peering',
      'gcloud compute networks describe vpc-b --project identity-nonprod',
    ],
  ])('%s leaves that check open', async (_, method, project, states, name, command) => {
    denied(method, project);
    const checks = await checksOf();
    expect(statesOf(checks)).toBe(states);
    const check = checkOf(checks, name);
    expect(check?.evidence.join()).toContain(`Required '${method}' permission for 'projects/${project}/`);
    expect(check?.evidence.join()).toContain('roles/compute.');
    expect(check?.fix).toContain(command);
  });

  test('without credentials there is nothing to say', async () => {
    const { token } = cloud;
    cloud.token = 'another';
    await expect(checksOf()).rejects.toMatchObject({ code: 'no-credentials' });
    cloud.token = token;
  });
});

test('of a shared network routes and rules are looked up in the project that owns it', async () => {
  cloud.projects['service-1'] = { number: '3', metadata: [] };
  node.project = 'service-1';
  expect(statesOf(await checksOf())).toBe('ok ok ok ok ok');
});

test('pods of a VPC-native cluster have a way back: their secondary range is a subnet route', async () => {
  Object.assign(cloud.subnetworks[0] ?? {}, {
    secondaryIpRanges: [{ rangeName: 'pods', ipCidrRange: '10.132.0.0/14' }],
  });
  peer.routes[`to-frontend/${region}`]?.push({
    destRange: '10.132.0.0/14',
    imported: true,
    type: 'SUBNET_PEERING_ROUTE',
  });
  cloud.firewalls = [{ ...allowRule, sourceRanges: ['10.0.0.0/8'] }];
  expect(statesOf(await checksOf({ source: '10.132.0.10' }))).toBe('ok ok ok ok ok');
});
