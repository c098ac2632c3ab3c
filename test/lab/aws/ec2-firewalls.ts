import * as z from 'zod';
import { filters, list, listPage, page, type Action, type Filterable } from './ec2-listing';
import type { Fields } from './query-protocol';
import type { AwsState, LabAcl, LabInterface, LabPermission, LabSecurityGroup } from './state';

const vpcOf = (state: AwsState, subnetId: string) => state.subnets.get(subnetId)?.vpcId ?? '';

/** Whether a network interface exists. The interfaces of a terminated instance do not. */
const isThere = ({ instances }: AwsState, { attachment }: LabInterface): boolean =>
  attachment === undefined || instances.get(attachment.instanceId)?.state !== 'terminated';

const interfaceFilters: Filterable<LabInterface> = {
  'vpc-id': ({ subnetId }, state) => [vpcOf(state, subnetId)],
  'addresses.private-ip-address': ({ addresses }) => addresses,
  'ipv6-addresses.ipv6-address': ({ ipv6Addresses }) => ipv6Addresses,
  'attachment.instance-id': ({ attachment }) => (attachment ? [attachment.instanceId] : []),
};

function interfaceXml(state: AwsState, one: LabInterface) {
  const {
    networkInterfaceId,
    subnetId,
    addresses,
    ipv6Addresses,
    groupIds,
    attachment,
    ipv4Prefixes = [],
  } = one;
  return {
    networkInterfaceId,
    subnetId,
    vpcId: vpcOf(state, subnetId),
    ownerId: state.account,
    status: 'in-use',
    privateIpAddress: addresses[0],
    groupSet: list(groupIds.map((groupId) => ({ groupId }))),
    ...(attachment && { attachment: { ...attachment, status: 'attached' } }),
    privateIpAddressesSet: list(
      addresses.map((privateIpAddress, index) => ({ privateIpAddress, primary: index === 0 })),
    ),
    ipv4PrefixSet: list(ipv4Prefixes.map((ipv4Prefix) => ({ ipv4Prefix }))),
    ipv6AddressesSet: list(ipv6Addresses.map((ipv6Address) => ({ ipv6Address }))),
  };
}

function describeNetworkInterfaces(state: AwsState, fields: Fields) {
  const request = z.strictObject({ Filter: filters, ...page }).parse(fields);
  const all = [...state.interfaces.values()].filter((one) => isThere(state, one));
  const { items, nextToken } = listPage(state, all, request, interfaceFilters, 1_000);
  return { networkInterfaceSet: list(items.map((one) => interfaceXml(state, one))), nextToken };
}

const permissionXml = (permission: LabPermission) => ({
  ...permission,
  ipRanges: list([...(permission.ipRanges ?? [])]),
  ipv6Ranges: list([...(permission.ipv6Ranges ?? [])]),
  prefixListIds: list([...(permission.prefixListIds ?? [])]),
  groups: list([...(permission.groups ?? [])]),
});

function describeSecurityGroups(state: AwsState, fields: Fields) {
  const request = z.strictObject({ Filter: filters, ...page }).parse(fields);
  const known: Filterable<LabSecurityGroup> = { 'group-id': ({ groupId }) => [groupId] };
  const { items, nextToken } = listPage(state, state.securityGroups, request, known, 1_000);
  const groups = items.map(({ groupId, groupName, vpcId, ingress, egress }) => ({
    ownerId: state.account,
    groupId,
    groupName,
    groupDescription: groupName,
    vpcId,
    ipPermissions: list(ingress.map(permissionXml)),
    ipPermissionsEgress: list(egress.map(permissionXml)),
  }));
  return { securityGroupInfo: list(groups), nextToken };
}

/** A subnet without an associated network ACL uses the VPC's default ACL. */
function subnetsOf({ acls, subnets }: AwsState, { networkAclId, vpcId, isDefault, subnetIds }: LabAcl) {
  if (!isDefault) return subnetIds;
  const taken = new Set(
    acls.filter((acl) => acl.networkAclId !== networkAclId).flatMap((acl) => acl.subnetIds),
  );
  const own = [...subnets.values()].filter((subnet) => subnet.vpcId === vpcId);
  return own.map(({ subnetId }) => subnetId).filter((id) => !taken.has(id));
}

function describeNetworkAcls(state: AwsState, fields: Fields) {
  const request = z.strictObject({ Filter: filters, ...page }).parse(fields);
  const known: Filterable<LabAcl> = { 'association.subnet-id': (acl) => subnetsOf(state, acl) };
  const { items, nextToken } = listPage(state, state.acls, request, known, 1_000);
  const acls = items.map((acl) => ({
    networkAclId: acl.networkAclId,
    vpcId: acl.vpcId,
    ownerId: state.account,
    default: acl.isDefault,
    entrySet: list(acl.entries),
    associationSet: list(
      subnetsOf(state, acl).map((subnetId) => ({ networkAclId: acl.networkAclId, subnetId })),
    ),
  }));
  return { networkAclSet: list(acls), nextToken };
}

export const firewallActions: Readonly<Record<string, Action>> = {
  DescribeNetworkInterfaces: describeNetworkInterfaces,
  DescribeSecurityGroups: describeSecurityGroups,
  DescribeNetworkAcls: describeNetworkAcls,
};
