import * as fc from 'fast-check';
import type { Check, CloudCheckName } from '../../../shared/core/doctor/check';
import type { Cause, Explanation } from '../../../shared/core/explain/explanation';
import {
  firstAddress,
  parseAddress,
  tryParseCidr,
  type Address,
  type Cidr,
} from '../../../shared/core/model/cidr';
import type { ClusterConfig, ConfiguredRange } from '../../../shared/core/model/config';
import { PermanentError, type PeermasqError } from '../../../shared/core/model/errors';
import { routeSourceKinds, type NetworkContext, type Route } from '../../../shared/core/model/node';

/** Uses a small number of addresses and networks, so that ranges often contain or touch each other. */
const ipv4Ranges = ['10.0', '10.1', '10.2', '10.3', '100.64', '198.18', '240.0', '192.168', '9.0'].flatMap(
  (network) => [
    ...[`${network}.0.0/15`, `${network}.0.0/16`, `${network}.0.0/17`, `${network}.128.0/17`],
    ...[`${network}.1.0/24`, `${network}.1.0/31`, `${network}.1.1/32`, `${network}.0.0/14`],
  ],
);
const ipv6Ranges = [
  'fd00::/46',
  'fd00::/47',
  'fd00::/48',
  'fd00:0:1::/48',
  'fd00:0:2::/48',
  'fd00:0:1:1::/64',
  'fd00:ec2::/32',
  'fd00:ec2::254/127',
  'fd00:ec2::254/128',
];
const specialRanges = ['0.0.0.0/0', '10.0.0.0/8', '169.254.0.0/16', '224.0.0.0/3', '100.64.0.0/10', '::/0'];
const pool = (texts: readonly string[]) =>
  fc.constantFrom(...texts.flatMap((text) => tryParseCidr(text) ?? []));
const range = fc.oneof(
  { weight: 12, arbitrary: pool(ipv4Ranges) },
  { weight: 3, arbitrary: pool(ipv6Ranges) },
  { weight: 1, arbitrary: pool(specialRanges) },
);
const ranges = (maxLength: number) => fc.array(range, { maxLength });

const fewRanges = fc.oneof({ weight: 3, arbitrary: fc.constant([]) }, { weight: 1, arbitrary: ranges(1) });

const kind = fc.constantFrom(...routeSourceKinds);
const anyRoute: fc.Arbitrary<Route> = fc.record({
  kind,
  via: fc.constantFrom('to-hub', 'pcx-1', 'x"; reboot #'),
  destination: fc.oneof(
    { weight: 15, arbitrary: range.map(({ text }) => text) },
    { weight: 1, arbitrary: fc.constantFrom('pl-0123', '10.0.0.1/8') },
  ),
  state: fc.constantFrom('active', 'active', 'active', 'blackhole', 'provisioning'),
  peerRoutesPods: fc.boolean(),
});
/** Generates a route. On AWS, a route may exist only in the subnets of a node's other interfaces. */
const route = fc.oneof(
  { weight: 2, arbitrary: anyRoute },
  {
    weight: 1,
    arbitrary: anyRoute.map((one) => ({ ...one, peerRoutesPods: false, onlyInSubnets: ['subnet-2'] })),
  },
);

const networkContext: fc.Arbitrary<NetworkContext> = fc
  .record({
    networkRanges: ranges(2),
    podRanges: ranges(2),
    otherRoutedRanges: fewRanges,
    arePodsRouted: fc.boolean(),
    routes: fc.array(route, { minLength: 1, maxLength: 5, size: 'max' }),
    discoveredKinds: fc.oneof(fc.constant([...routeSourceKinds]), fc.subarray([...routeSourceKinds])),
  })
  .map(({ otherRoutedRanges, arePodsRouted, routes, ...context }) => ({
    ...context,
    routes: routes.filter((one) => context.discoveredKinds.includes(one.kind)),
    network: 'vpc-b',
    routedPodRanges: arePodsRouted ? context.podRanges : otherRoutedRanges,
  }));

const entry: fc.Arbitrary<ConfiguredRange> = fc.record({
  cidr: range,
  name: fc.constantFrom('hq', 'db'),
  evenIfRouted: fc.boolean(),
});
const cluster: fc.Arbitrary<ClusterConfig> = fc.record({
  name: fc.constant('frontend'),
  pods: ranges(2),
  services: fewRanges,
  masquerade: fc.array(fc.oneof(kind, entry), { maxLength: 4, size: 'max' }),
  except: fewRanges,
  probe: fc.constant([]),
  randomFully: fc.boolean(),
  controlPlane: fc.constant(true),
});

const causes = [
  'masqueraded',
  'no-rule',
  'shadowed',
  'untracked',
  'exempt',
  'wrong-backend',
  'stays-on-node',
  'dropped',
  'unknown',
] as const satisfies Cause[];
const explanation: fc.Arbitrary<Explanation> = fc
  .record({
    masqueraded: fc.constantFrom<(boolean | 'unknown')[]>(true, false, 'unknown'),
    source: fc.constantFrom('10.0.0.1', '192.0.2.7', null),
    sources: fc.subarray(['10.0.0.1', '192.0.2.7', '10.1.0.9']),
    destinations: fc.constant([]),
    redirectedBy: fc.constant([]),
    mayBeDropped: fc.boolean(),
    path: fc.constant([]),
    omitted: fc.constant(0),
    cause: fc.constantFrom(...causes),
    reason: fc.constant('The reason.'),
    fix: fc.constantFrom('iptables …', null),
  })
  // These do not matter to the other parts.
  .map((drawn) => ({
    ...drawn,
    want: 'masqueraded',
    masqueradedByTablesShown: drawn.masqueraded,
    notShown: [],
    assumedComplete: false,
    hasUnknownSource: false,
    evidence: [],
    lastingFix: null,
  }));
const unreadable = new PermanentError('no-watcher', 'The node does not answer', { advice: 'Retry.' });
const rules: fc.Arbitrary<Explanation | PeermasqError> = fc.oneof(
  { weight: 9, arbitrary: explanation },
  { weight: 1, arbitrary: fc.constant(unreadable) },
);

const cloudChecks: readonly CloudCheckName[] = [
  'peering',
  'forward-route',
  'return-route',
  'node-firewall',
  'peer-firewall',
];
const state = fc.constantFrom<Check['state'][]>('ok', 'broken', 'unknown', 'not-needed');
const reach: fc.Arbitrary<readonly Check[]> = fc
  .tuple(state, state, state, state, state)
  .map((states) =>
    cloudChecks.map((name, i): Check => ({ name, state: states[i] ?? 'ok', evidence: [`about ${name}`] })),
  );

/** A connection from a pod, and everything that affects whether it is masqueraded. */
export interface Case {
  readonly cluster: ClusterConfig;
  readonly networkContext: NetworkContext;
  readonly isRecorded: boolean;
  readonly isChange: boolean;
  readonly pod: Address;
  readonly destination: Address;
  readonly rules: Explanation | PeermasqError;
  readonly reach: readonly Check[];
  readonly nodeReturnRoute: Check['state'];
}

/**
 * Returns the addresses at the boundaries of all ranges, where bugs are likely, and one address outside every range.
 */
function edgesOf(all: readonly Cidr[], family: Cidr['family']): fc.Arbitrary<Address> {
  const own = all.filter((one) => one.family === family && one.prefix > 0);
  return fc.constantFrom(
    ...own.map(firstAddress),
    ...own.map(firstAddress),
    family === 4 ? outside4 : outside6,
  );
}

const outside4 = parseAddress('172.16.2.77');
const outside6 = parseAddress('fd00:0:7::1');

/** With the VPC CNI, pods have addresses in the node's own network. */
const setting = fc
  .tuple(cluster, networkContext, fc.boolean())
  .map(([config, context, arePodsInNetwork]) => ({
    cluster: config,
    networkContext: arePodsInNetwork
      ? { ...context, networkRanges: [...context.networkRanges, ...config.pods] }
      : context,
  }));

const circumstances = fc.record({
  setting,
  isRecorded: fc.boolean(),
  isChange: fc.boolean(),
  rules,
  reach,
  nodeReturnRoute: state,
  family: fc.constantFrom<Cidr['family'][]>(4, 4, 4, 6),
});

/** Most pods and destinations are in ranges that affect the decision. */
export const connection: fc.Arbitrary<Case> = circumstances.chain(
  ({ family, setting: { cluster: config, networkContext: context }, ...others }) => {
    const rest = { ...others, cluster: config, networkContext: context };
    const { services, except, masquerade } = rest.cluster;
    const { podRanges, networkRanges, routes, routedPodRanges } = rest.networkContext;
    const pods = [...rest.cluster.pods, ...podRanges, ...routedPodRanges];
    const entries = masquerade.flatMap((entry) => (typeof entry === 'string' ? [] : [entry.cidr]));
    const routed = routes.flatMap(({ destination }) => tryParseCidr(destination) ?? []);
    const endpoints = fc.record({
      pod: fc.oneof(
        { weight: 3, arbitrary: edgesOf(pods, family) },
        { weight: 1, arbitrary: edgesOf(networkRanges, family) },
      ),
      destination: fc.oneof(
        { weight: 3, arbitrary: edgesOf([...entries, ...routed], family) },
        { weight: 1, arbitrary: edgesOf([...services, ...except, ...networkRanges, ...pods], family) },
      ),
    });
    return endpoints.map((chosen) => ({ ...rest, ...chosen }));
  },
);
