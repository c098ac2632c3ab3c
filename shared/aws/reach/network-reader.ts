import {
  DescribeNetworkAclsCommand,
  DescribeNetworkInterfacesCommand,
  DescribeSecurityGroupsCommand,
  DescribeSubnetsCommand,
  type Filter,
  type NetworkAcl,
  type NetworkInterface,
  type RouteTable,
  type SecurityGroup,
  type Subnet,
  type Vpc,
  type VpcPeeringConnection,
} from '@aws-sdk/client-ec2';
import { tryParseCidr, type Cidr } from '../../core/model/cidr';
import { PeermasqError } from '../../core/model/errors';
import { memoize } from '../../core/util/functional';
import type { Deadline } from '../../core/cloud';
import type { CallOptions } from '../client/call';
import type { Clients } from '../client/clients';
import { listAll } from '../client/pages';
import type { Action } from '../client/permissions';
import { readPeerings, readPrefixList, readRouteTables, readVpcs } from '../discover/networks';

/** Reads the network of one account in one region. Each call is made only once, because all checks share its result. */
export interface NetworkReader {
  readonly vpc: (id: string) => Promise<Vpc | undefined>;
  readonly tables: (vpcId: string) => Promise<readonly RouteTable[]>;
  /** The peerings of the VPC, both as requester and as accepter. */
  readonly peerings: (vpcId: string) => Promise<readonly VpcPeeringConnection[]>;
  /** Resolves with no ranges if the prefix list does not exist in this account and region. */
  readonly prefixList: (id: string) => Promise<readonly Cidr[]>;
  readonly subnets: (vpcId: string) => Promise<readonly Subnet[]>;
  /** The network interfaces with this address, in any VPC. */
  readonly interfacesWith: (address: string) => Promise<readonly NetworkInterface[]>;
  readonly interfacesOf: (instanceId: string) => Promise<readonly NetworkInterface[]>;
  readonly group: (id: string) => Promise<SecurityGroup | undefined>;
  readonly acl: (subnetId: string) => Promise<NetworkAcl | undefined>;
}

export function makeNetworkReader(clients: Clients, deadline: Deadline): NetworkReader {
  const describe = makeDescriber(clients, deadline);
  return {
    vpc: memoize(async (id) => (await readVpcs(clients, [id], deadline))[0]),
    tables: memoize((vpcId) => readRouteTables(clients, [vpcId], deadline)),
    peerings: memoize(async (vpcId) => {
      const names = ['requester-vpc-info.vpc-id', 'accepter-vpc-info.vpc-id'] as const;
      const read = names.map((name) => readPeerings(clients, { name, values: [vpcId] }, deadline));
      return (await Promise.all(read)).flat();
    }),
    prefixList: memoize(async (id) => validCidrs(await readPrefixList(clients, id, deadline))),
    subnets: memoize((vpcId) => describe.subnets('vpc-id', vpcId)),
    interfacesWith: memoize((address) =>
      describe.interfaces(
        address.includes(':') ? 'ipv6-addresses.ipv6-address' : 'addresses.private-ip-address',
        address,
      ),
    ),
    interfacesOf: memoize((id) => describe.interfaces('attachment.instance-id', id)),
    group: memoize(async (id) => (await describe.groups('group-id', id))[0]),
    acl: memoize(async (subnetId) => (await describe.acls('association.subnet-id', subnetId))[0]),
  };
}

interface Request {
  readonly Filters: Filter[];
  readonly NextToken?: string;
}

function makeDescriber({ ec2 }: Clients, deadline: Deadline) {
  const describer =
    <Page extends { readonly NextToken?: string | undefined }, Item>(
      action: Action,
      send: (request: Request, options: CallOptions) => Promise<Page>,
      itemsOf: (page: Page) => Item[] | undefined,
    ) =>
    async (filter: string, value: string): Promise<Item[]> => {
      const Filters = [{ Name: filter, Values: [value] }];
      const pages = await listAll(action, deadline, (next, options) => send({ Filters, ...next }, options));
      return pages.flatMap((page) => itemsOf(page) ?? []);
    };

  return {
    subnets: describer(
      'ec2:DescribeSubnets',
      (request, options) => ec2.send(new DescribeSubnetsCommand(request), options),
      ({ Subnets }) => Subnets,
    ),
    interfaces: describer(
      'ec2:DescribeNetworkInterfaces',
      (request, options) => ec2.send(new DescribeNetworkInterfacesCommand(request), options),
      ({ NetworkInterfaces }) => NetworkInterfaces,
    ),
    groups: describer(
      'ec2:DescribeSecurityGroups',
      (request, options) => ec2.send(new DescribeSecurityGroupsCommand(request), options),
      ({ SecurityGroups }) => SecurityGroups,
    ),
    acls: describer(
      'ec2:DescribeNetworkAcls',
      (request, options) => ec2.send(new DescribeNetworkAclsCommand(request), options),
      ({ NetworkAcls }) => NetworkAcls,
    ),
  };
}

/** Returns the valid CIDRs. Other text is ignored, because it matches no address. */
export const validCidrs = (texts: readonly (string | undefined)[]): Cidr[] =>
  texts.flatMap((text) => (text === undefined ? [] : (tryParseCidr(text) ?? [])));

export const isAccessDenied = (error: unknown): error is PeermasqError =>
  error instanceof PeermasqError && error.code === 'access-denied';

/** Returns undefined if these credentials have no permission to read the resource. */
export async function undefinedIfDenied<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading;
  } catch (error) {
    if (isAccessDenied(error)) return undefined;
    throw error;
  }
}
