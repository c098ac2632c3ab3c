import type { protos } from '@google-cloud/compute';
import type { Cidr } from '../../core/model/cidr';
import { isInternal } from '../../core/model/reserved-ranges';
import type { Instance } from './instance';

export type Network = protos.google.cloud.compute.v1.INetwork;
export type Subnetwork = protos.google.cloud.compute.v1.ISubnetwork;

/** A network where it lives: with Shared VPC that is the host project, not the node's own. */
export interface NetworkRef {
  readonly project: string;
  readonly network: string;
}

const networkUrl = /\/projects\/([a-z0-9.:-]+)\/global\/networks\/([a-z0-9-]+)$/;

/** The network that a URL names; undefined for what is none. */
export function parseNetworkUrl(url: string | null | undefined): NetworkRef | undefined {
  const [, project, network] = networkUrl.exec(url ?? '') ?? [];
  return project !== undefined && network !== undefined ? { project, network } : undefined;
}

export const networkOf = ({ networkInterfaces }: Instance): NetworkRef | undefined =>
  parseNetworkUrl(networkInterfaces?.[0]?.network);

export const networkKey = ({ project, network }: NetworkRef): string => `${project}/${network}`;

export const isInNetwork = ({ project, network }: NetworkRef, url: string | null | undefined): boolean =>
  url?.endsWith(`/projects/${project}/global/networks/${network}`) === true;

/** Looks up through `look`, each key once; what failed is looked up again. */
export function memoize<T>(): (key: string, read: () => Promise<T>) => Promise<T> {
  const results = new Map<string, Promise<T>>();
  return (key, read) => {
    const result = results.get(key) ?? read();
    results.set(key, result);
    result.catch(() => results.delete(key));
    return result;
  };
}

/** Every range of a subnetwork, as the API prints them: primary, secondary and IPv6. */
export const subnetRanges = (subnet: Subnetwork): string[] =>
  [
    subnet.ipCidrRange,
    subnet.internalIpv6Prefix,
    subnet.externalIpv6Prefix,
    ...(subnet.secondaryIpRanges ?? []).map(({ ipCidrRange }) => ipCidrRange),
  ].filter((range): range is string => Boolean(range));

/**
 * Peerings exchange the routes of subnetworks, secondary ranges included, unless their addresses are public
 * ones in private use (https://cloud.google.com/vpc/docs/vpc-peering#subnet-routes).
 */
export const isPrivate = (range: Cidr): boolean => range.family === 4 && isInternal(range);
