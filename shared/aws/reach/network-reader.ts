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
import { CidrError, parseCidr, type Cidr } from '../../core/model/cidr';
import { PeermasqError } from '../../core/model/errors';
import type { Deadline } from '../../core/cloud';
import { allPages, call } from '../client/call';
import type { Clients } from '../client/clients';
import { readPeerings, readPrefixList, readRouteTables, readVpcs } from '../discover/networks';

/** One region of one account as it can be looked at. What several checks need is asked for once. */
export interface NetworkReader {
  readonly vpc: (id: string) => Promise<Vpc | undefined>;
  readonly tables: (vpcId: string) => Promise<readonly RouteTable[]>;
  /** Those that the VPC asked for and those that it was asked for. */
  readonly peerings: (vpcId: string) => Promise<readonly VpcPeeringConnection[]>;
  /** The ranges of a prefix list; none where it cannot be seen. */
  readonly prefixList: (id: string) => Promise<readonly Cidr[]>;
  readonly subnets: (vpcId: string) => Promise<readonly Subnet[]>;
  /** The interfaces with this address, whatever their VPC. */
  readonly interfacesWith: (address: string) => Promise<readonly NetworkInterface[]>;
  readonly interfacesOf: (instanceId: string) => Promise<readonly NetworkInterface[]>;
  readonly group: (id: string) => Promise<SecurityGroup | undefined>;
  readonly acl: (subnetId: string) => Promise<NetworkAcl | undefined>;
}

export function makeNetworkReader(clients: Clients, deadline: Deadline): NetworkReader {
  const read = makeDescribers(clients, deadline);
  return {
    vpc: memoizeByKey(async (id) => (await readVpcs(clients, [id], deadline))[0]),
    tables: memoizeByKey((vpcId) => readRouteTables(clients, [vpcId], deadline)),
    peerings: memoizeByKey(async (vpcId) => {
      const ends = ['requester-vpc-info.vpc-id', 'accepter-vpc-info.vpc-id'] as const;
      return (await Promise.all(ends.map((end) => readPeerings(clients, end, [vpcId], deadline)))).flat();
    }),
    prefixList: memoizeByKey(async (id) => cidrsIn(await readPrefixList(clients, id, deadline))),
    subnets: memoizeByKey((vpcId) => read.subnets({ 'vpc-id': vpcId })),
    interfacesWith: memoizeByKey((address) =>
      read.interfaces({
        [address.includes(':') ? 'ipv6-addresses.ipv6-address' : 'addresses.private-ip-address']: address,
      }),
    ),
    interfacesOf: memoizeByKey((id) => read.interfaces({ 'attachment.instance-id': id })),
    group: memoizeByKey(async (id) => (await read.groups({ 'group-id': id }))[0]),
    acl: memoizeByKey(async (subnetId) => (await read.acls({ 'association.subnet-id': subnetId }))[0]),
  };
}

function memoizeByKey<T>(read: (key: string) => Promise<T>): (key: string) => Promise<T> {
  const results = new Map<string, Promise<T>>();
  return (key) => {
    const result = results.get(key) ?? read(key);
    results.set(key, result);
    return result;
  };
}

type FilterValues = Readonly<Record<string, string>>;

const filtersOf = (filterValues: FilterValues): { Filters: Filter[] } => ({
  Filters: Object.entries(filterValues).map(([Name, value]) => ({ Name, Values: [value] })),
});

function makeDescribers({ ec2 }: Clients, deadline: Deadline) {
  return {
    async subnets(filterValues: FilterValues) {
      const pages = await allPages((next) =>
        call('ec2:DescribeSubnets', deadline, (options) =>
          ec2.send(new DescribeSubnetsCommand({ ...filtersOf(filterValues), ...next }), options),
        ),
      );
      return pages.flatMap(({ Subnets = [] }) => Subnets);
    },
    async interfaces(filterValues: FilterValues) {
      const pages = await allPages((next) =>
        call('ec2:DescribeNetworkInterfaces', deadline, (options) =>
          ec2.send(new DescribeNetworkInterfacesCommand({ ...filtersOf(filterValues), ...next }), options),
        ),
      );
      return pages.flatMap(({ NetworkInterfaces = [] }) => NetworkInterfaces);
    },
    async groups(filterValues: FilterValues) {
      const pages = await allPages((next) =>
        call('ec2:DescribeSecurityGroups', deadline, (options) =>
          ec2.send(new DescribeSecurityGroupsCommand({ ...filtersOf(filterValues), ...next }), options),
        ),
      );
      return pages.flatMap(({ SecurityGroups = [] }) => SecurityGroups);
    },
    async acls(filterValues: FilterValues) {
      const pages = await allPages((next) =>
        call('ec2:DescribeNetworkAcls', deadline, (options) =>
          ec2.send(new DescribeNetworkAclsCommand({ ...filtersOf(filterValues), ...next }), options),
        ),
      );
      return pages.flatMap(({ NetworkAcls = [] }) => NetworkAcls);
    },
  };
}

/** The ranges among these; what is none can hold no address. */
export function cidrsIn(texts: readonly (string | undefined)[]): Cidr[] {
  return texts.flatMap((text) => {
    try {
      return text === undefined ? [] : parseCidr(text);
    } catch (error) {
      if (error instanceof CidrError) return [];
      throw error;
    }
  });
}

/** What was read; undefined where it may not be. */
export async function undefinedIfDenied<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading;
  } catch (error) {
    if (isAccessDenied(error)) return undefined;
    throw error;
  }
}

export const isAccessDenied = (error: unknown): error is PeermasqError =>
  error instanceof PeermasqError && error.code === 'access-denied';
