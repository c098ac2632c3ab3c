import { createHash } from 'node:crypto';
import { networkUrl, subnetworkUrl, url, type Item, type Network, type Subnetwork, type Vm } from './state';

/** Changes with every change of the items, as the API's does. */
export const fingerprintOf = (items: readonly Item[]): string =>
  createHash('sha256').update(JSON.stringify(items)).digest('base64url').slice(0, 11) + '=';

export const pathOf = ({ project, zone, name }: Vm): string =>
  `projects/${project}/zones/${zone}/instances/${name}`;

export function vmResource(vm: Vm): unknown {
  const { project, zone, id, name, status, labels, tags, metadata, networkInterfaces, disks } = vm;
  return {
    kind: 'compute#instance',
    id,
    name,
    status,
    zone: url(`projects/${project}/zones/${zone}`),
    selfLink: url(pathOf(vm)),
    labels,
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

export const networkResource = ({ project, name, internalIpv6Range, peerings }: Network): unknown => ({
  kind: 'compute#network',
  name,
  selfLink: networkUrl(project, name),
  ...(internalIpv6Range === undefined ? {} : { internalIpv6Range }),
  peerings: peerings.map((peering) => ({ ...peering, autoCreateRoutes: true, exchangeSubnetRoutes: true })),
});

export const subnetworkResource = ({ project, region, name, network, ...ranges }: Subnetwork): unknown => ({
  kind: 'compute#subnetwork',
  name,
  selfLink: subnetworkUrl(project, region, name),
  region: url(`projects/${project}/regions/${region}`),
  network: networkUrl(project, network),
  ...ranges,
});
