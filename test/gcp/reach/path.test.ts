import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { CheckName } from '../../../shared/core/doctor/check';
import type { LabFirewall, LabFirewallPolicy, LabNetwork } from '../../lab/gcp/state';
import {
  allowFrontend,
  localProject,
  openReachLab,
  peerProject,
  region,
  statesOf,
  type Endpoints,
  type ReachLab,
} from './reach-lab';

let lab: ReachLab;
beforeAll(async () => {
  lab = await openReachLab();
}, 60_000);
afterAll(() => lab.close());
beforeEach(() => {
  lab.reset();
});

test('a connection over a peering passes every check without repeated calls, and each check has its evidence', async () => {
  expect(await lab.runChecks()).toEqual([
    {
      name: 'peering',
      state: 'ok',
      evidence: [
        'Peering to-backend of network identity-nonprod/vpc-b is ACTIVE (Connected).',
        'Peering to-frontend of network backend-prod/vpc-a is ACTIVE (Connected).',
      ],
    },
    {
      name: 'forward-route',
      state: 'ok',
      evidence: [
        'Network identity-nonprod/vpc-b routes 10.193.0.0/16 through peering to-backend (subnet route).',
      ],
    },
    {
      name: 'return-route',
      state: 'ok',
      evidence: [
        'Network backend-prod/vpc-a routes 10.209.0.0/16 through peering to-frontend (subnet route).',
      ],
    },
    {
      name: 'node-firewall',
      state: 'ok',
      evidence: ['No rule denies egress tcp:32191 to 10.193.0.3, and egress is allowed by default.'],
    },
    {
      name: 'peer-firewall',
      state: 'ok',
      evidence: [
        '10.193.0.3 belongs to forwarding rule backend of project backend-prod in europe-west1.',
        'VPC firewall rule allow-frontend (priority 1000) of network backend-prod/vpc-a allows ingress tcp:32191 from 10.209.0.2.',
      ],
    },
  ]);
  expect(
    lab.cloud.calls.filter((call) => /networks.get$|listPeeringRoutes|firewalls/i.test(call)).sort(),
  ).toEqual([
    'compute.instances.getEffectiveFirewalls',
    'compute.networks.get',
    'compute.networks.get',
    'compute.networks.getEffectiveFirewalls',
    'compute.networks.listPeeringRoutes',
    'compute.networks.listPeeringRoutes',
  ]);
});

test('if a shared VPC is used, its host project has the routes and firewall rules that are checked', async () => {
  lab.cloud.projects['service-1'] = { number: '3', metadata: [] };
  lab.node.project = 'service-1';
  expect(statesOf(await lab.runChecks())).toBe('ok ok ok ok ok');
});

test('pods of a VPC-native cluster have a return route: the subnet route for their secondary range', async () => {
  Object.assign(lab.cloud.subnetworks[0] ?? {}, {
    secondaryIpRanges: [{ rangeName: 'pods', ipCidrRange: '10.132.0.0/14' }],
  });
  lab.peer.routes[`to-frontend/${region}`]?.push({
    destRange: '10.132.0.0/14',
    imported: true,
    type: 'SUBNET_PEERING_ROUTE',
  });
  lab.cloud.firewalls = [{ ...allowFrontend, sourceRanges: ['10.0.0.0/8'] }];
  expect(statesOf(await lab.runChecks({ source: '10.132.0.10' }))).toBe('ok ok ok ok ok');
});

test('a public destination without a route needs no peering', async () => {
  lab.cloud.routes = [];
  const destination = '8.8.8.8';
  expect(await lab.runCheck('peering', { destination })).toEqual({
    name: 'peering',
    state: 'not-needed',
    evidence: [
      '8.8.8.8 is a public address: it is reached through the default internet gateway, not a peering.',
    ],
  });
  const route = await lab.runCheck('forward-route', { destination });
  expect(route.state).toBe('broken');
  expect(route.fix).toBeUndefined();
});

interface Problem {
  readonly arrange?: (lab: ReachLab) => void;
  readonly endpoints?: Endpoints;
  readonly broken: CheckName;
  /** Text that the evidence contains. */
  readonly evidence: string;
  readonly fix: string | undefined;
}

async function expectProblem({ arrange, endpoints, broken, evidence, fix }: Problem): Promise<void> {
  arrange?.(lab);
  const check = await lab.firstBroken(endpoints);
  expect(check?.name).toBe(broken);
  expect(check?.evidence.join('\n')).toContain(evidence);
  expect(check?.fix).toBe(fix);
}

const peeringOf = ({ peerings: [peering] }: LabNetwork) => {
  if (!peering) throw new Error('The network has no peering');
  return peering;
};
const exchangeCustomRoutes = ({ local, peer }: ReachLab) => {
  for (const network of [local, peer])
    Object.assign(peeringOf(network), { importCustomRoutes: true, exportCustomRoutes: true });
};
const createPeering =
  'gcloud compute networks peerings create to-vpc-b --project backend-prod --network vpc-a --peer-project identity-nonprod --peer-network vpc-b';

describe('the peering is broken', () => {
  test.each<[string, Problem]>([
    [
      'if the other network has no peering',
      {
        arrange: ({ local, peer }) => {
          peeringOf(local).state = 'INACTIVE';
          peer.peerings = [];
        },
        broken: 'peering',
        evidence:
          'Peering to-backend of network identity-nonprod/vpc-b is INACTIVE (Waiting for peer network to connect).\nNetwork backend-prod/vpc-a has no peering with network identity-nonprod/vpc-b.',
        fix: createPeering,
      },
    ],
    [
      "if it is inactive, even if the other network's peering cannot be read",
      {
        arrange: ({ local, cloud }) => {
          peeringOf(local).state = 'INACTIVE';
          cloud.injectedErrors.push({
            method: 'compute.networks.get',
            project: peerProject,
            kind: 'permission',
            times: 9,
          });
        },
        broken: 'peering',
        evidence:
          "Required 'compute.networks.get' permission for 'projects/backend-prod/global/networks/vpc-a'",
        fix: createPeering,
      },
    ],
    [
      "if the other network's peering is inactive",
      {
        arrange: ({ peer }) => {
          peeringOf(peer).state = 'INACTIVE';
        },
        broken: 'peering',
        evidence:
          'Peering to-frontend of network backend-prod/vpc-a is INACTIVE (Waiting for peer network to connect).',
        fix: `gcloud compute networks peerings delete to-frontend --project backend-prod --network vpc-a && ${createPeering.replace('to-vpc-b', 'to-frontend')}`,
      },
    ],
    [
      'if no peering leads to the destination',
      {
        arrange: ({ local }) => {
          local.peerings = [];
        },
        broken: 'peering',
        evidence: 'Found no peering of network identity-nonprod/vpc-b that leads to 10.193.0.3.',
        fix: 'gcloud compute networks peerings list --project identity-nonprod --network vpc-b',
      },
    ],
  ])('%s', (_, problem) => expectProblem(problem));
});

describe('the forward route is broken', () => {
  test.each<[string, Problem]>([
    [
      'if the peer does not export the route',
      {
        arrange: ({ local, cloud }) => {
          local.routes = {};
          Object.assign(peeringOf(local), { importCustomRoutes: true });
          cloud.routes.push({
            project: peerProject,
            name: 'to-office',
            network: 'vpc-a',
            destRange: '10.77.0.0/16',
            nextHopIp: '10.193.0.9',
          });
        },
        endpoints: { destination: '10.77.0.1' },
        broken: 'forward-route',
        evidence: 'Peering to-frontend of network backend-prod/vpc-a exports custom routes: no.',
        fix: 'gcloud compute networks peerings update to-frontend --project backend-prod --network vpc-a --export-custom-routes',
      },
    ],
    [
      "if the node's network does not import the route",
      {
        arrange: ({ local, peer }) => {
          local.routes[`to-backend/${region}`]?.push({
            destRange: '10.77.0.0/16',
            imported: false,
            type: 'STATIC_PEERING_ROUTE',
          });
          Object.assign(peeringOf(peer), { exportCustomRoutes: true });
        },
        endpoints: { destination: '10.77.0.1' },
        broken: 'forward-route',
        evidence:
          'Peering to-backend offers 10.77.0.0/16 (static route), but network identity-nonprod/vpc-b does not import it.',
        fix: 'gcloud compute networks peerings update to-backend --project identity-nonprod --network vpc-b --import-custom-routes',
      },
    ],
    [
      'if only the default route to the internet remains',
      {
        arrange: (connection) => {
          connection.local.routes = {};
          exchangeCustomRoutes(connection);
        },
        broken: 'forward-route',
        evidence:
          'The best route of network identity-nonprod/vpc-b for 10.193.0.3 does not lead there: 0.0.0.0/0 through the default internet gateway (static route default).',
        fix: undefined,
      },
    ],
    [
      'if the peering exchanges only IPv4 routes',
      {
        arrange: (connection) => {
          Object.assign(connection.cloud.subnetworks[1] ?? {}, { internalIpv6Prefix: 'fd20:1::/64' });
          exchangeCustomRoutes(connection);
          Object.assign(peeringOf(connection.peer), { stackType: 'IPV4_IPV6' });
        },
        endpoints: { source: 'fd20:2::2', destination: 'fd20:1::3' },
        broken: 'forward-route',
        evidence: 'Network identity-nonprod/vpc-b has no route to fd20:1::3.',
        fix: 'gcloud compute networks peerings update to-backend --project identity-nonprod --network vpc-b --stack-type IPV4_IPV6',
      },
    ],
  ])('%s', (_, problem) => expectProblem(problem));
});

describe('the return route is broken', () => {
  test.each<[string, Problem]>([
    [
      'if the peer has no return route',
      {
        arrange: ({ peer }) => {
          peer.routes = {};
        },
        broken: 'return-route',
        evidence:
          'does not lead there: 0.0.0.0/0 through the default internet gateway (static route default).',
        fix: 'gcloud compute networks peerings list-routes to-frontend --project backend-prod --network vpc-a --region europe-west1 --direction INCOMING',
      },
    ],
    [
      'for a pod address to which no network has a route',
      {
        endpoints: { source: '10.132.0.10' },
        broken: 'return-route',
        evidence:
          'Network identity-nonprod/vpc-b has no route to 10.132.0.10 either, so return traffic cannot reach it.',
        fix: undefined,
      },
    ],
    [
      'if the route to the pod is not exchanged over the peering',
      {
        arrange: ({ cloud }) => {
          cloud.routes.push({
            project: localProject,
            name: 'gke-frontend-1',
            network: 'vpc-b',
            destRange: '10.132.0.0/24',
            nextHopInstance: 'projects/identity-nonprod/zones/europe-west1-c/instances/node-1',
          });
        },
        endpoints: { source: '10.132.0.10' },
        broken: 'return-route',
        evidence:
          'Network identity-nonprod/vpc-b routes 10.132.0.0/24 through node-1 (static route gke-frontend-1).',
        fix: 'gcloud compute networks peerings update to-backend --project identity-nonprod --network vpc-b --export-custom-routes && gcloud compute networks peerings update to-frontend --project backend-prod --network vpc-a --import-custom-routes',
      },
    ],
  ])('%s', (_, problem) => expectProblem(problem));
});

describe('a destination whose route the peer passes on from another network', () => {
  const endpoints = { destination: '10.77.0.1' };
  const passOn = () => {
    lab.local.routes[`to-backend/${region}`]?.push({
      destRange: '10.77.0.0/16',
      imported: true,
      type: 'DYNAMIC_PEERING_ROUTE',
    });
  };

  test('may have no return route, even though the peer has one', async () => {
    passOn();
    expect(await lab.runCheck('return-route', endpoints)).toMatchObject({
      state: 'unknown',
      evidence: [
        '10.77.0.0/16 is behind network backend-prod/vpc-a, which passes the route on (learned route). Cannot check whether the network behind it has a route to 10.209.0.2.',
        'Network backend-prod/vpc-a routes 10.209.0.0/16 through peering to-frontend (subnet route).',
      ],
      fix: "gcloud compute routers list --project backend-prod --filter 'network~/vpc-a$'",
    });
  });

  test('has no return route if the peer has none', async () => {
    passOn();
    lab.peer.routes = {};
    expect(await lab.runCheck('return-route', endpoints)).toMatchObject({ state: 'broken' });
  });
});

const denyEgress = (priority: number): LabFirewall => ({
  project: localProject,
  name: 'deny-egress',
  network: 'vpc-b',
  direction: 'EGRESS',
  denied: [{ IPProtocol: 'all' }],
  destinationRanges: ['10.193.0.0/16'],
  priority,
});

const denyPolicy = (type: LabFirewallPolicy['type'], name: string, shortName: string): LabFirewallPolicy => ({
  type,
  name,
  shortName,
  rules: [
    {
      priority: 100,
      action: 'deny',
      direction: 'INGRESS',
      match: { srcIpRanges: ['10.0.0.0/8'], layer4Configs: [{ ipProtocol: 'all' }] },
    },
  ],
});

describe('a firewall is broken', () => {
  test.each<[string, Problem]>([
    [
      'if a rule denies the node’s egress',
      {
        arrange: ({ cloud }) => cloud.firewalls.push(denyEgress(900)),
        broken: 'node-firewall',
        evidence:
          'VPC firewall rule deny-egress (priority 900) of network identity-nonprod/vpc-b denies egress tcp:32191 to 10.193.0.3.',
        fix: 'gcloud compute firewall-rules create peermasq-egress-tcp-32191 --project identity-nonprod --network vpc-b --direction EGRESS --action allow --rules tcp:32191 --destination-ranges 10.193.0.3/32 --priority 899',
      },
    ],
    [
      "if a rule with priority 0 denies the node's egress, and the fix is to disable the rule",
      {
        arrange: ({ cloud }) => cloud.firewalls.push(denyEgress(0)),
        broken: 'node-firewall',
        evidence: 'VPC firewall rule deny-egress (priority 0)',
        fix: 'gcloud compute firewall-rules update deny-egress --project identity-nonprod --disabled',
      },
    ],
    [
      'if the peer has no rule that allows the connection',
      {
        arrange: ({ cloud }) => {
          cloud.firewalls = [];
        },
        broken: 'peer-firewall',
        evidence: 'No rule allows ingress tcp:32191 from 10.209.0.2, and ingress is denied by default.',
        fix: 'gcloud compute firewall-rules create peermasq-ingress-tcp-32191 --project backend-prod --network vpc-a --direction INGRESS --action allow --rules tcp:32191 --source-ranges 10.209.0.0/16 --priority 1000',
      },
    ],
    [
      'if the peer’s rule is disabled',
      {
        arrange: ({ cloud }) => Object.assign(cloud.firewalls[0] ?? {}, { disabled: true }),
        broken: 'peer-firewall',
        evidence:
          'VPC firewall rule allow-frontend of network backend-prod/vpc-a would allow the connection but is disabled.',
        fix: 'gcloud compute firewall-rules update allow-frontend --project backend-prod --no-disabled',
      },
    ],
    [
      'if an organisation policy denies a connection that the network allows',
      {
        arrange: ({ peer }) => {
          peer.firewallPolicies = [denyPolicy('HIERARCHY', '123456789012', 'org-rules')];
        },
        broken: 'peer-firewall',
        evidence:
          'Rule 100 of firewall policy org-rules (HIERARCHY) denies ingress tcp:32191 from 10.209.0.2.',
        fix: 'gcloud compute firewall-policies rules create 99 --firewall-policy 123456789012 --direction INGRESS --action allow --layer4-configs tcp:32191 --src-ip-ranges 10.209.0.0/16',
      },
    ],
    [
      'if a network policy that is evaluated first denies the connection',
      {
        arrange: ({ peer }) => {
          peer.networkFirewallPolicyEnforcementOrder = 'BEFORE_CLASSIC_FIREWALL';
          peer.firewallPolicies = [denyPolicy('NETWORK', 'strict', 'strict')];
        },
        broken: 'peer-firewall',
        evidence: 'Rule 100 of firewall policy strict (NETWORK) denies ingress tcp:32191 from 10.209.0.2.',
        fix: 'gcloud compute network-firewall-policies rules create 99 --firewall-policy strict --global-firewall-policy --project backend-prod --direction INGRESS --action allow --layer4-configs tcp:32191 --src-ip-ranges 10.209.0.0/16',
      },
    ],
    [
      'if the load balancer accepts only clients from another region',
      {
        arrange: ({ cloud }) => Object.assign(cloud.forwardingRules[0] ?? {}, { region: 'us-east1' }),
        broken: 'peer-firewall',
        evidence:
          'Forwarding rule backend accepts clients in us-east1 only (no global access), and the node is in europe-west1.',
        fix: 'gcloud compute forwarding-rules update backend --project backend-prod --region us-east1 --allow-global-access',
      },
    ],
    [
      'if the load balancer does not forward the port',
      {
        endpoints: { port: 443 },
        broken: 'peer-firewall',
        evidence: 'Forwarding rule backend does not forward tcp:443.',
        fix: 'gcloud compute forwarding-rules describe backend --project backend-prod --region europe-west1',
      },
    ],
  ])('%s', (_, problem) => expectProblem(problem));
});
