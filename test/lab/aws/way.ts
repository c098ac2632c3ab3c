import { aclOf, groupOf, type LabAccount } from './account';
import type { LabAcl, LabPeering, LabRouteTable, LabSecurityGroup, LabSubnet } from './state';

interface Network {
  readonly vpcId: string;
  readonly subnetId: string;
  readonly range: string;
  readonly ipv6Range?: string;
}

export interface NewWay {
  readonly peeringId: string;
  readonly node: Network;
  readonly peer: Network & {
    readonly address: string;
    readonly ipv6Address?: string;
    readonly port: number;
    /** Where its VPC is, when it is not that of the node. */
    readonly account?: LabAccount;
  };
}

/** What a test breaks of it. */
export interface LabWay {
  readonly peering: LabPeering;
  readonly node: Side;
  readonly peer: Side;
  /** Breaks it in one place. */
  breakAt(place: WayBreak): void;
}

interface Side {
  readonly subnet: LabSubnet;
  readonly table: LabRouteTable;
  /** Of the nodes, or of the service. */
  readonly group: LabSecurityGroup;
  readonly acl: LabAcl;
}

/** Ways to break it, in the order in which people look for them. */
export const wayBreaks = {
  'peering pending': ({ peering }) => (peering.status = 'pending-acceptance'),
  'no route there': ({ node }) => (node.table.routes = []),
  'no route back': ({ peer }) => (peer.table.routes = []),
  'group closed at the node': ({ node }) => (node.group.egress = []),
  'ACL closed at the node': ({ node, peer }) => node.acl.entries.push(deny(true, peer.subnet.cidr)),
  'group closed at the peer': ({ peer }) => (peer.group.ingress = []),
  'ACL closed at the peer': ({ node, peer }) => peer.acl.entries.push(deny(false, node.subnet.cidr)),
} as const satisfies Record<string, (way: LabWay) => unknown>;

export type WayBreak = keyof typeof wayBreaks;

const deny = (egress: boolean, cidrBlock: string) =>
  ({ ruleNumber: 50, egress, ruleAction: 'deny', protocol: '6', cidrBlock }) as const;

/** Two peered VPCs with routes both ways, and in the second one a service that the first may reach. */
export function addWay(account: LabAccount, { peeringId, node, peer }: NewWay): LabWay {
  const peerAccount = peer.account ?? account;
  const peering: LabPeering = {
    vpcPeeringConnectionId: peeringId,
    status: 'active',
    requesterVpcInfo: sideOf(account, node),
    accepterVpcInfo: sideOf(peerAccount, peer),
  };
  for (const { state } of new Set([account, peerAccount])) state.peerings.push(peering);
  addNetwork(account, node, peer, peeringId);
  addNetwork(peerAccount, peer, node, peeringId);
  const way = {
    peering,
    node: readSide(account, node, groupOf(node.vpcId)),
    peer: readSide(peerAccount, peer, addService(peerAccount, peer, node)),
  };
  return {
    ...way,
    breakAt(place) {
      wayBreaks[place](this);
    },
  };
}

const sideOf = ({ state }: LabAccount, { vpcId, range, ipv6Range }: Network) => ({
  vpcId,
  cidrBlock: range,
  ...(ipv6Range !== undefined && { ipv6CidrBlock: ipv6Range }),
  ownerId: state.account,
  region: state.region,
});

function addNetwork(account: LabAccount, own: Network, other: Network, peeringId: string): void {
  const { vpcId, subnetId, range, ipv6Range } = own;
  const vpcPeeringConnectionId = peeringId;
  const ipv6 = other.ipv6Range;
  account.addNetwork({
    vpcId,
    cidrs: [range],
    ipv6Cidrs: ipv6Range === undefined ? [] : [ipv6Range],
    subnetIds: [subnetId],
    routes: [
      { destinationCidrBlock: other.range, vpcPeeringConnectionId },
      ...(ipv6 === undefined ? [] : [{ destinationIpv6CidrBlock: ipv6, vpcPeeringConnectionId }]),
    ],
  });
}

/** @returns the id of its security group */
function addService({ state }: LabAccount, peer: NewWay['peer'], clients: Network): string {
  const { vpcId, subnetId, address, ipv6Address, port } = peer;
  const groupId = `${groupOf(vpcId)}1`;
  const networkInterfaceId = vpcId.replace('vpc-', 'eni-');
  const addresses = [address];
  const ipv6Addresses = ipv6Address === undefined ? [] : [ipv6Address];
  const groupIds = [groupId];
  state.interfaces.set(networkInterfaceId, {
    networkInterfaceId,
    subnetId,
    addresses,
    ipv6Addresses,
    groupIds,
  });
  const ipv6 = clients.ipv6Range === undefined ? {} : { ipv6Ranges: [{ cidrIpv6: clients.ipv6Range }] };
  const ports = { ipProtocol: 'tcp', fromPort: port, toPort: port };
  state.securityGroups.push({
    groupId,
    groupName: 'service',
    vpcId,
    ingress: [{ ...ports, ipRanges: [{ cidrIp: clients.range }], ...ipv6 }],
    egress: [],
  });
  return groupId;
}

function readSide({ state }: LabAccount, { vpcId, subnetId }: Network, groupId: string): Side {
  return {
    subnet: found(state.subnets.get(subnetId)),
    table: found(state.routeTables.find((table) => table.vpcId === vpcId)),
    group: found(state.securityGroups.find((group) => group.groupId === groupId)),
    acl: found(state.acls.find((acl) => acl.networkAclId === aclOf(vpcId))),
  };
}

function found<T>(one: T | undefined): T {
  if (one === undefined) throw new Error('addNetwork made less than expected');
  return one;
}
