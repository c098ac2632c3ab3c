import type { protos } from '@google-cloud/compute';
import type { Cidr } from '../../core/model/cidr';
import type { Route } from '../../core/model/node';
import { isInternalRange } from '../../core/model/reserved-ranges';
import type { Instance } from './instance';

/** The fields of networks, subnetworks and routes, and what they mean. network-inventory.ts reads them from the API. */

export type Network = protos.google.cloud.compute.v1.INetwork;
export type Subnetwork = protos.google.cloud.compute.v1.ISubnetwork;
export type Router = protos.google.cloud.compute.v1.IRouter;
export type ComputeRoute = protos.google.cloud.compute.v1.IRoute;
export type PeeringRoute = protos.google.cloud.compute.v1.IExchangedPeeringRoute;

/** The project that owns the network: with Shared VPC that is the host project, not the node's own. */
export interface NetworkRef {
  readonly project: string;
  readonly network: string;
}

const networkUrl = /\/projects\/([a-z0-9.:-]+)\/global\/networks\/([a-z0-9-]+)$/;

/** Undefined for a URL of something else. */
export function parseNetworkUrl(url: string | null | undefined): NetworkRef | undefined {
  const [, project, network] = networkUrl.exec(url ?? '') ?? [];
  return project !== undefined && network !== undefined ? { project, network } : undefined;
}

export const networkOf = ({ networkInterfaces }: Instance): NetworkRef | undefined =>
  parseNetworkUrl(networkInterfaces?.[0]?.network);

export const networkKey = ({ project, network }: NetworkRef): string => `${project}/${network}`;

export const isInNetwork = ({ project, network }: NetworkRef, url: string | null | undefined): boolean =>
  url?.endsWith(`/projects/${project}/global/networks/${network}`) === true;

/** The last part of a resource's URL: its name. */
export const lastSegment = (url: string | null | undefined): string => url?.split('/').at(-1) ?? '';

export const regionOf = (zone: string): string => zone.slice(0, zone.lastIndexOf('-'));

/** The ranges of a subnetwork as the API prints them: primary, secondary and IPv6. */
export const subnetRanges = (subnet: Subnetwork): string[] =>
  [
    subnet.ipCidrRange,
    subnet.internalIpv6Prefix,
    subnet.externalIpv6Prefix,
    ...(subnet.secondaryIpRanges ?? []).map(({ ipCidrRange }) => ipCidrRange),
  ].filter((range): range is string => Boolean(range));

/**
 * Peerings exchange subnet routes, secondary ranges included, except for privately used public addresses
 * (https://cloud.google.com/vpc/docs/vpc-peering#subnet-routes).
 */
export const isPrivate = (range: Cidr): boolean => range.family === 4 && isInternalRange(range);

/** A route with tags applies only to instances that have one of them (https://cloud.google.com/vpc/docs/routes). */
export const appliesTo = ({ tags }: Instance, { tags: routeTags }: ComputeRoute): boolean =>
  !routeTags?.length || routeTags.some((tag) => tags?.items?.includes(tag));

export function nextHopName(route: ComputeRoute): string {
  const { nextHopVpnTunnel, nextHopInterconnectAttachment, nextHopIp, name } = route;
  const names = [lastSegment(nextHopVpnTunnel), lastSegment(nextHopInterconnectAttachment), nextHopIp, name];
  return names.find((text) => text) ?? 'unnamed';
}

/** The API reports a status only for routes that are not simply active. */
export function routeState({ routeStatus }: ComputeRoute): Route['state'] {
  if (routeStatus === 'PENDING') return 'provisioning';
  return routeStatus === 'DROPPED' || routeStatus === 'INACTIVE' ? 'blackhole' : 'active';
}
