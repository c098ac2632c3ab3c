import * as z from 'zod';
import { filters, list, listPage, page, type Action, type Filterable } from './ec2-listing';
import type { Fields } from './query-protocol';
import { AwsApiError } from './api-error';
import type { AwsState, LabPeering, LabRouteTable, LabSubnet, LabVpc } from './state';

function vpcXml({ vpcId, cidrs, ipv6Cidrs, formerCidrs }: LabVpc) {
  const association = (cidrBlock: string, state: string) => ({ cidrBlock, cidrBlockState: { state } });
  return {
    vpcId,
    cidrBlock: cidrs[0],
    state: 'available',
    cidrBlockAssociationSet: list([
      ...cidrs.map((cidr) => association(cidr, 'associated')),
      ...formerCidrs.map((cidr) => association(cidr, 'disassociated')),
    ]),
    ipv6CidrBlockAssociationSet: list(
      ipv6Cidrs.map((ipv6CidrBlock) => ({ ipv6CidrBlock, ipv6CidrBlockState: { state: 'associated' } })),
    ),
  };
}

function describeVpcs(state: AwsState, fields: Fields) {
  const request = z.strictObject({ Filter: filters, ...page }).parse(fields);
  const known: Filterable<LabVpc> = { 'vpc-id': ({ vpcId }) => [vpcId] };
  const { items, nextToken } = listPage(state, state.vpcs.values(), request, known, 1_000);
  return { vpcSet: list(items.map(vpcXml)), nextToken };
}

function subnetXml({ subnetId, vpcId, cidr, ipv6Cidr }: LabSubnet) {
  const ipv6 = { ipv6CidrBlock: ipv6Cidr, ipv6CidrBlockState: { state: 'associated' } };
  return {
    subnetId,
    vpcId,
    state: 'available',
    cidrBlock: cidr,
    ipv6CidrBlockAssociationSet: list(ipv6Cidr === undefined ? [] : [ipv6]),
  };
}

function describeSubnets(state: AwsState, fields: Fields) {
  const request = z.strictObject({ Filter: filters, ...page }).parse(fields);
  const known: Filterable<LabSubnet> = { 'vpc-id': ({ vpcId }) => [vpcId] };
  const { items, nextToken } = listPage(state, state.subnets.values(), request, known, 1_000);
  return { subnetSet: list(items.map(subnetXml)), nextToken };
}

function routeTableXml(state: AwsState, { routeTableId, vpcId, isMain, subnetIds, routes }: LabRouteTable) {
  const association = { routeTableId, associationState: { state: 'associated' } };
  const { cidrs = [], ipv6Cidrs = [] } = state.vpcs.get(vpcId) ?? {};
  const local = [
    ...cidrs.map((destinationCidrBlock) => ({ destinationCidrBlock })),
    ...ipv6Cidrs.map((destinationIpv6CidrBlock) => ({ destinationIpv6CidrBlock })),
  ].map((destination) => ({
    ...destination,
    gatewayId: 'local',
    state: 'active',
    origin: 'CreateRouteTable',
  }));
  return {
    routeTableId,
    vpcId,
    routeSet: list([
      ...local,
      ...routes.map((route) => ({ state: 'active', origin: 'CreateRoute', ...route })),
    ]),
    associationSet: list([
      ...(isMain ? [{ ...association, main: true }] : []),
      ...subnetIds.map((subnetId) => ({ ...association, subnetId, main: false })),
    ]),
  };
}

function describeRouteTables(state: AwsState, fields: Fields) {
  const request = z.strictObject({ Filter: filters, ...page }).parse(fields);
  const known: Filterable<LabRouteTable> = {
    'vpc-id': ({ vpcId }) => [vpcId],
    'association.subnet-id': ({ subnetIds }) => subnetIds,
  };
  const { items, nextToken } = listPage(state, state.routeTables, request, known, 100);
  return { routeTableSet: list(items.map((table) => routeTableXml(state, table))), nextToken };
}

/** Returns a peering. The CIDR ranges of both sides are included only while the peering is active. */
function peeringXml({ status, requesterVpcInfo, accepterVpcInfo, ...peering }: LabPeering) {
  const side = ({ cidrBlock, ipv6CidrBlock, ...vpc }: NonNullable<LabPeering['accepterVpcInfo']>) => ({
    ...vpc,
    ...(status === 'active' && {
      cidrBlock,
      cidrBlockSet: list(cidrBlock === undefined ? [] : [{ cidrBlock }]),
      ipv6CidrBlockSet: list(ipv6CidrBlock === undefined ? [] : [{ ipv6CidrBlock }]),
    }),
  });
  return {
    ...peering,
    status: { code: status },
    ...(requesterVpcInfo && { requesterVpcInfo: side(requesterVpcInfo) }),
    ...(accepterVpcInfo && { accepterVpcInfo: side(accepterVpcInfo) }),
  };
}

function describeVpcPeeringConnections(state: AwsState, fields: Fields) {
  const request = z.strictObject({ Filter: filters, ...page }).parse(fields);
  const known: Filterable<LabPeering> = {
    'vpc-peering-connection-id': ({ vpcPeeringConnectionId }) => [vpcPeeringConnectionId],
    'status-code': ({ status }) => [status],
    'requester-vpc-info.vpc-id': ({ requesterVpcInfo }) => [requesterVpcInfo?.vpcId ?? ''],
    'accepter-vpc-info.vpc-id': ({ accepterVpcInfo }) => [accepterVpcInfo?.vpcId ?? ''],
  };
  const { items, nextToken } = listPage(state, state.peerings, request, known, 1_000);
  return { vpcPeeringConnectionSet: list(items.map(peeringXml)), nextToken };
}

function getManagedPrefixListEntries(state: AwsState, fields: Fields) {
  const request = z.strictObject({ PrefixListId: z.string(), ...page }).parse(fields);
  const cidrs = state.prefixLists.get(request.PrefixListId);
  if (!cidrs) {
    const message = `The prefix list ID '${request.PrefixListId}' does not exist.`;
    throw new AwsApiError('InvalidPrefixListID.NotFound', message);
  }
  const { items, nextToken } = listPage(state, cidrs, { ...request, Filter: [] }, {}, 100);
  return { entrySet: list(items.map((cidr) => ({ cidr }))), nextToken };
}

export const networkActions: Readonly<Record<string, Action>> = {
  DescribeVpcs: describeVpcs,
  DescribeSubnets: describeSubnets,
  DescribeRouteTables: describeRouteTables,
  DescribeVpcPeeringConnections: describeVpcPeeringConnections,
  GetManagedPrefixListEntries: getManagedPrefixListEntries,
};
