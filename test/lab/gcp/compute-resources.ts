import { createHash } from 'node:crypto';
import {
  networkUrl,
  subnetworkUrl,
  url,
  type LabFirewall,
  type LabForwardingRule,
  type MetadataItem,
  type LabLearnedRoute,
  type LabNetwork,
  type LabRouter,
  type LabRoute,
  type LabSubnetwork,
  type LabVm,
} from './state';

/** Returns a hash of metadata or labels, in the format of the API's fingerprints. */
export const fingerprintOf = (content: readonly MetadataItem[] | Readonly<Record<string, string>>): string =>
  createHash('sha256').update(JSON.stringify(content)).digest('base64url').slice(0, 11) + '=';

export const pathOf = ({ project, zone, name }: LabVm): string =>
  `projects/${project}/zones/${zone}/instances/${name}`;

/** Returns an object with the field, or an empty object if the value is undefined: the API omits unset fields. */
const optional = (key: string, value: unknown) => (value === undefined ? {} : { [key]: value });

export function vmResource(vm: LabVm): unknown {
  const { project, zone, id, name, status, labels, tags, metadata, networkInterfaces, disks } = vm;
  return {
    kind: 'compute#instance',
    id,
    name,
    status,
    zone: url(`projects/${project}/zones/${zone}`),
    selfLink: url(pathOf(vm)),
    ...optional('creationTimestamp', vm.creationTimestamp),
    ...optional('lastStartTimestamp', vm.lastStartTimestamp),
    ...optional('serviceAccounts', vm.serviceAccounts),
    labels,
    labelFingerprint: fingerprintOf(labels),
    tags: { items: tags, fingerprint: '42WmSpB8rSM=' },
    metadata: { kind: 'compute#metadata', fingerprint: fingerprintOf(metadata), items: metadata },
    networkInterfaces: networkInterfaces.map((nic, index) => ({
      kind: 'compute#networkInterface',
      name: `nic${index}`,
      ...nic,
    })),
    disks: disks.map((disk) => ({ kind: 'compute#attachedDisk', ...disk })),
  };
}

export const networkResource = ({
  project,
  name,
  internalIpv6Range,
  routingMode = 'REGIONAL',
  networkFirewallPolicyEnforcementOrder = 'AFTER_CLASSIC_FIREWALL',
  peerings,
}: LabNetwork): unknown => ({
  kind: 'compute#network',
  name,
  selfLink: networkUrl(project, name),
  ...optional('internalIpv6Range', internalIpv6Range),
  routingConfig: { routingMode },
  networkFirewallPolicyEnforcementOrder,
  peerings: peerings.map((peering) => ({
    importCustomRoutes: false,
    exportCustomRoutes: false,
    stackType: 'IPV4_ONLY',
    stateDetails: peering.state === 'ACTIVE' ? 'Connected.' : 'Waiting for peer network to connect.',
    ...peering,
    autoCreateRoutes: true,
    exchangeSubnetRoutes: true,
  })),
});

export const subnetworkResource = ({
  project,
  region,
  name,
  network,
  ...ranges
}: LabSubnetwork): unknown => ({
  kind: 'compute#subnetwork',
  name,
  selfLink: subnetworkUrl(project, region, name),
  region: url(`projects/${project}/regions/${region}`),
  network: networkUrl(project, network),
  ...ranges,
});

export const routeResource = ({ project, name, network, priority = 1000, ...rest }: LabRoute): unknown => ({
  kind: 'compute#route',
  name,
  selfLink: url(`projects/${project}/global/routes/${name}`),
  network: networkUrl(project, network),
  priority,
  ...rest,
});

export const routerResource = ({ project, region, name, network }: LabRouter): unknown => ({
  kind: 'compute#router',
  name,
  selfLink: url(`projects/${project}/regions/${region}/routers/${name}`),
  region: url(`projects/${project}/regions/${region}`),
  network: networkUrl(project, network),
});

export function routerStatusResource({ project, network, ...router }: LabRouter): unknown {
  const networkOfRouter = networkUrl(project, network);
  const show = ({ priority = 0, ...route }: LabLearnedRoute) => ({
    kind: 'compute#route',
    network: networkOfRouter,
    routeType: 'BGP',
    priority,
    ...route,
  });
  return {
    kind: 'compute#routerStatusResponse',
    result: {
      network: networkOfRouter,
      bestRoutes: router.bestRoutes.map(show),
      bestRoutesForRouter: router.bestRoutesForRouter.map(show),
    },
  };
}

export const firewallResource = ({
  project,
  name,
  network,
  priority = 1000,
  ...rest
}: LabFirewall): unknown => ({
  kind: 'compute#firewall',
  name,
  selfLink: url(`projects/${project}/global/firewalls/${name}`),
  network: networkUrl(project, network),
  priority,
  disabled: false,
  ...rest,
});

export const forwardingRuleResource = ({
  project,
  region,
  name,
  network,
  ...rest
}: LabForwardingRule): unknown => ({
  kind: 'compute#forwardingRule',
  name,
  selfLink: url(`projects/${project}/regions/${region}/forwardingRules/${name}`),
  region: url(`projects/${project}/regions/${region}`),
  network: networkUrl(project, network),
  ...rest,
});
