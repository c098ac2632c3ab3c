import { aclOf, groupOf, type LabAccount } from './account';
import type { LabAcl, LabPeering, LabRouteTable, LabSecurityGroup, LabSubnet } from './state';

interface ConnectionNetwork {
  readonly vpcId: string;
  readonly subnetId: string;
  readonly range: string;
  readonly ipv6Range?: string;
}

export interface NewConnection {
  readonly peeringId: string;
  readonly node: ConnectionNetwork;
  readonly peer: ConnectionNetwork & {
    readonly address: string;
    readonly ipv6Address?: string;
    readonly port: number;
    /** The account and region of the peer's VPC. Defaults to the account and region of the node. */
    readonly account?: LabAccount;
  };
}

/** The parts of a connection that a test can break. */
export interface LabConnection {
  readonly peering: LabPeering;
  readonly node: ConnectionSide;
  readonly peer: ConnectionSide;
  /** Breaks one part of the connection. */
  misconfigure(name: Misconfiguration): void;
}

interface ConnectionSide {
  readonly subnet: LabSubnet;
  readonly table: LabRouteTable;
  /** The security group of the nodes or of the service on this side. */
  readonly group: LabSecurityGroup;
  readonly acl: LabAcl;
}

/** The misconfigurations, in the order of doctor's checks. Each function breaks one part of a connection. */
export const misconfigurations = {
  'peering-pending': ({ peering }) => (peering.status = 'pending-acceptance'),
  'no-forward-route': ({ node }) => (node.table.routes = []),
  'no-return-route': ({ peer }) => (peer.table.routes = []),
  'security-group-blocks-egress': ({ node }) => (node.group.egress = []),
  'network-acl-blocks-egress': ({ node, peer }) => node.acl.entries.push(deny(true, peer.subnet.cidr)),
  'security-group-blocks-ingress': ({ peer }) => (peer.group.ingress = []),
  'network-acl-blocks-ingress': ({ node, peer }) => peer.acl.entries.push(deny(false, node.subnet.cidr)),
} as const satisfies Record<string, (connection: LabConnection) => unknown>;

export type Misconfiguration = keyof typeof misconfigurations;

const deny = (egress: boolean, cidrBlock: string) =>
  ({ ruleNumber: 50, egress, ruleAction: 'deny', protocol: '6', cidrBlock }) as const;

/** Adds two peered VPCs with routes in both directions. The first VPC may reach a service in the second. */
export function addConnection(account: LabAccount, { peeringId, node, peer }: NewConnection): LabConnection {
  const peerAccount = peer.account ?? account;
  const peering: LabPeering = {
    vpcPeeringConnectionId: peeringId,
    status: 'active',
    requesterVpcInfo: peeringSide(account, node),
    accepterVpcInfo: peeringSide(peerAccount, peer),
  };
  for (const { state } of new Set([account, peerAccount])) state.peerings.push(peering);
  addNetwork(account, node, peer, peeringId);
  addNetwork(peerAccount, peer, node, peeringId);
  const connection = {
    peering,
    node: readSide(account, node, groupOf(node.vpcId)),
    peer: readSide(peerAccount, peer, addService(peerAccount, peer, node)),
  };
  return {
    ...connection,
    misconfigure(name) {
      misconfigurations[name](this);
    },
  };
}

const peeringSide = ({ state }: LabAccount, { vpcId, range, ipv6Range }: ConnectionNetwork) => ({
  vpcId,
  cidrBlock: range,
  ...(ipv6Range !== undefined && { ipv6CidrBlock: ipv6Range }),
  ownerId: state.account,
  region: state.region,
});

function addNetwork(
  account: LabAccount,
  own: ConnectionNetwork,
  other: ConnectionNetwork,
  peeringId: string,
): void {
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

/**
 * Adds the service.
 * @returns the ID of its security group
 */
function addService({ state }: LabAccount, peer: NewConnection['peer'], clients: ConnectionNetwork): string {
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

function readSide(
  { state }: LabAccount,
  { vpcId, subnetId }: ConnectionNetwork,
  groupId: string,
): ConnectionSide {
  return {
    subnet: assertDefined(state.subnets.get(subnetId)),
    table: assertDefined(state.routeTables.find((table) => table.vpcId === vpcId)),
    group: assertDefined(state.securityGroups.find((group) => group.groupId === groupId)),
    acl: assertDefined(state.acls.find((acl) => acl.networkAclId === aclOf(vpcId))),
  };
}

function assertDefined<T>(one: T | undefined): T {
  if (one === undefined) throw new Error('addNetwork created fewer resources than expected');
  return one;
}
