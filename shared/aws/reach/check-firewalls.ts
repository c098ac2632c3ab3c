import { contains, toCidr, type Cidr } from '../../core/model/cidr';
import type { CheckResult } from '../../core/doctor/check';
import { definedOnly } from '../../core/util/collections';
import { vpcRanges } from '../discover/networks';
import { evaluateAcl } from './evaluate-acl';
import { evaluateGroups } from './evaluate-groups';
import { groupIdsOf, type Endpoint } from './firewall-endpoint';
import { describeInterfaceCommand } from './fix-command';
import { undefinedIfDenied } from './network-reader';
import { hasAddress, type PathContext } from './path-context';

/** Checks whether the firewalls of the node's interface allow the outbound connection and its return traffic. */
export async function checkNodeFirewall(context: PathContext): Promise<CheckResult> {
  const { local, home, connection, instanceId } = context;
  const networkInterface = await context.localInterface();
  if (!networkInterface)
    return { state: 'unknown', evidence: [`Found no network interface of ${instanceId}.`] };
  const remote = await undefinedIfDenied(context.remoteInterface());
  const endpoint: Endpoint = {
    reader: local,
    location: home,
    networkInterface,
    direction: 'egress',
    other: { address: connection.destination, groupIds: remote && groupIdsOf(remote) },
    otherLocation: (await undefinedIfDenied(context.remote())) ?? home,
    allowedRange: toCidr(connection.destination),
  };
  return evaluateEndpoint(context, endpoint, remote?.SubnetId);
}

/** Checks whether the firewalls of the destination's interface allow the inbound connection and its return traffic. */
export async function checkPeerFirewall(context: PathContext): Promise<CheckResult> {
  const { source, destination } = context.connection;
  const remote = await context.remote();
  const address = destination.text;
  if (!remote) return { state: 'unknown', evidence: [`Found no VPC that contains ${address}.`] };
  const { vpcId, account, region, reader } = remote;
  const fix = describeInterfaceCommand(context.ec2, remote, { address: destination, vpcId });
  if (!reader) {
    const evidence = `Cannot read the security groups and network ACLs of ${vpcId}: it is in account ${account}, ${region}.`;
    return { state: 'unknown', evidence: [evidence], fix };
  }
  const networkInterface = await context.remoteInterface();
  if (!networkInterface)
    return { state: 'unknown', evidence: [`No network interface in ${vpcId} has ${address}.`], fix };
  const node = await undefinedIfDenied(context.localInterface());
  const groupIds = node && (hasAddress(node, source) ? groupIdsOf(node) : []);
  const endpoint: Endpoint = {
    reader,
    location: remote,
    networkInterface,
    direction: 'ingress',
    other: { address: source, groupIds },
    otherLocation: context.home,
    allowedRange: await nodeRange(context),
  };
  return evaluateEndpoint(context, endpoint, node?.SubnetId);
}

/**
 * Returns the VPC range that contains the node, because the fix has to allow all nodes of the cluster, not only this
 * node.
 */
async function nodeRange({ local, vpcId, connection: { source } }: PathContext): Promise<Cidr> {
  const vpc = await undefinedIfDenied(local.vpc(vpcId));
  const ranges = (vpc && vpcRanges(vpc)) ?? [];
  return ranges.find((range) => contains(range, source)) ?? toCidr(source);
}

/** @param otherSubnetId the subnet of the other end; network ACLs do not apply to traffic within a subnet */
async function evaluateEndpoint(
  context: PathContext,
  endpoint: Endpoint,
  otherSubnetId: string | undefined,
): Promise<CheckResult> {
  const { SubnetId: subnetId = '' } = endpoint.networkInterface;
  const acl = subnetId === otherSubnetId ? undefined : await endpoint.reader.acl(subnetId);
  const groups = await evaluateGroups(context, endpoint);
  const layers = [groups, ...(acl ? evaluateAcl(context, endpoint, acl) : [])];
  const worstFirst = (['broken', 'unknown', 'ok'] as const).flatMap((state) =>
    layers.filter((layer) => layer.state === state),
  );
  const { state, fix } = worstFirst[0] ?? groups;
  return definedOnly({ state, evidence: worstFirst.map(({ evidence }) => evidence), fix });
}
