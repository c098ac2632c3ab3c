import type { NetworkAcl, NetworkInterface, SecurityGroup } from '@aws-sdk/client-ec2';
import { addressOf, contains, type Cidr } from '../../core/model/cidr';
import type { Check } from '../../core/doctor/check';
import { vpcRanges } from '../discover/networks';
import { intersect, freeEntryNumberBefore, matchAclEntries, type Ports, type AclMatch } from './acl-match';
import { byFamily, type AccountRegion } from './fix-command';
import { matchPermissions, type OtherEndpoint } from './group-match';
import { hasAddress, type PathContext } from './path-context';
import { undefinedIfDenied, type NetworkReader } from './network-reader';

/** Ports that an answer may go to: what masquerading may give a connection. */
const ephemeral: Ports = { from: 1_024, to: 65_535 };
/** Those that Linux takes unless it has to give another one. */
const linuxEphemeral: Ports = { from: 32_768, to: 60_999 };

/** One end of the connection, and where its firewalls are read. */
interface Endpoint {
  readonly reader: NetworkReader;
  readonly location: AccountRegion;
  readonly networkInterface: NetworkInterface;
  readonly other: OtherEndpoint;
  /** Where the interface of the other end is asked for. */
  readonly otherLocation: AccountRegion;
  /** What a cure opens for: the other end, or all that may stand in its place. */
  readonly allowedRange: Cidr;
  readonly isNode: boolean;
  /** Network ACLs stand between subnets only. */
  readonly isSameSubnet: boolean;
}

interface LayerResult {
  readonly state: 'ok' | 'broken' | 'unknown';
  readonly evidence: string;
  readonly fix?: string;
}

/** Lets the node's interface the connection out, and its answers in? */
export async function checkNodeFirewall(context: PathContext): Promise<Check> {
  const name = 'node-firewall';
  const { local, home, connection, instanceId } = context;
  const networkInterface = await context.localInterface();
  if (!networkInterface)
    return { name, state: 'unknown', evidence: [`No interface of ${instanceId} is to be seen.`] };
  const remote = await undefinedIfDenied(context.remoteInterface());
  const other = { address: connection.destination, groupIds: remote && groupsOf(remote) };
  const otherLocation = (await undefinedIfDenied(context.remote())) ?? home;
  const endpoint = {
    reader: local,
    location: home,
    networkInterface,
    other,
    otherLocation,
    allowedRange: connection.destination,
    isNode: true,
  };
  return {
    name,
    ...(await evaluateEndpoint(context, {
      ...endpoint,
      isSameSubnet: networkInterface.SubnetId === remote?.SubnetId,
    })),
  };
}

/** Lets the destination's interface the connection in, and its answers out? */
export async function checkPeerFirewall(context: PathContext): Promise<Check> {
  const name = 'peer-firewall';
  const remote = await context.remote();
  const address = addressOf(context.connection.destination);
  if (!remote) {
    return { name, state: 'unknown', evidence: [`${address} is in no VPC that is to be seen from here.`] };
  }
  const { vpcId, account, reader } = remote;
  const fix = describeInterface(
    context,
    remote,
    context.connection.destination,
    `Name=vpc-id,Values=${vpcId}`,
  );
  if (!reader) {
    const evidence = [
      `The firewalls of ${vpcId} are those of account ${account}, and not to be seen from here.`,
    ];
    return { name, state: 'unknown', evidence, fix };
  }
  const networkInterface = await context.remoteInterface();
  if (!networkInterface)
    return { name, state: 'unknown', evidence: [`No interface in ${vpcId} has ${address}.`], fix };
  const node = await undefinedIfDenied(context.localInterface());
  const { source } = context.connection;
  const groupIds = node && (hasAddress(node, source) ? groupsOf(node) : []);
  const other = { address: source, groupIds };
  const allowedRange = await nodeRange(context);
  const endpoint = {
    reader,
    location: remote,
    networkInterface,
    other,
    otherLocation: context.home,
    allowedRange,
    isNode: false,
  };
  return {
    name,
    ...(await evaluateEndpoint(context, {
      ...endpoint,
      isSameSubnet: networkInterface.SubnetId === node?.SubnetId,
    })),
  };
}

function describeInterface(
  { ec2 }: PathContext,
  location: AccountRegion,
  address: Cidr,
  ...filters: readonly string[]
): string {
  const key = byFamily(address, 'addresses.private-ip-address', 'ipv6-addresses.ipv6-address');
  const filter = `Name=${key},Values=${addressOf(address)}`;
  return ec2(location, 'describe-network-interfaces', '--filters', filter, ...filters);
}

const groupsOf = ({ Groups = [] }: NetworkInterface): string[] =>
  Groups.flatMap(({ GroupId }) => GroupId ?? []);

/** Every node of the cluster has to get through, not just this one. */
async function nodeRange({ local, vpcId, connection: { source } }: PathContext): Promise<Cidr> {
  const vpc = await undefinedIfDenied(local.vpc(vpcId));
  return ((vpc && vpcRanges(vpc)) ?? []).find((range) => contains(range, source)) ?? source;
}

async function evaluateEndpoint(context: PathContext, endpoint: Endpoint): Promise<Omit<Check, 'name'>> {
  const { port } = context.connection;
  const acl = endpoint.isSameSubnet
    ? undefined
    : await endpoint.reader.acl(endpoint.networkInterface.SubnetId ?? '');
  const layers = [
    await evaluateGroups(context, endpoint),
    ...(acl ? [evaluateAcl(context, endpoint, acl, { from: port, to: port }, endpoint.isNode)] : []),
    ...(acl ? [evaluateAcl(context, endpoint, acl, ephemeral, !endpoint.isNode)] : []),
  ];
  // What decides is told first.
  const worstFirst = (['broken', 'unknown', 'ok'] as const).flatMap((state) =>
    layers.filter((one) => one.state === state),
  );
  const [{ state, fix }] = worstFirst as [LayerResult];
  return {
    state,
    evidence: worstFirst.map(({ evidence }) => evidence),
    ...(fix !== undefined && { fix }),
  };
}

/** Groups remember connections: what lets the first packet through lets the answers through too. */
async function evaluateGroups(context: PathContext, endpoint: Endpoint): Promise<LayerResult> {
  const { port } = context.connection;
  const ids = groupsOf(endpoint.networkInterface);
  const groups = (await Promise.all(ids.map((id) => endpoint.reader.group(id)))).filter(
    (one) => one !== undefined,
  );
  const connection = `${endpoint.isNode ? 'out to' : 'in from'} ${addressOf(endpoint.other.address)} on port ${port}`;
  const matches = await Promise.all(
    groups.map(async (group) => {
      const groupMatch = await matchPermissions(
        endpoint.reader,
        permissionsOf(group, endpoint),
        endpoint.other,
        port,
      );
      return groupMatch ? [{ ...groupMatch, id: group.GroupId ?? '' }] : [];
    }),
  );
  const groupMatch = matches.flat().toSorted((a, b) => Number(b.isCertain) - Number(a.isCertain))[0];
  if (groupMatch?.isCertain) {
    return {
      state: 'ok',
      evidence: `${groupMatch.id} lets it ${connection}: it allows ${groupMatch.description}.`,
    };
  }
  if (groupMatch) {
    const evidence = `${groupMatch.id} allows ${groupMatch.description}; whether ${addressOf(endpoint.other.address)} is of that group is not to be seen.`;
    return {
      state: 'unknown',
      evidence,
      fix: describeInterface(context, endpoint.otherLocation, endpoint.other.address),
    };
  }
  return {
    state: 'broken',
    evidence: `No rule of ${ids.join(', ')} lets it ${connection}.`,
    fix: groupFix(context, endpoint, ids[0] ?? 'GROUP_ID'),
  };
}

const permissionsOf = (
  { IpPermissions = [], IpPermissionsEgress = [] }: SecurityGroup,
  { isNode }: Endpoint,
) => (isNode ? IpPermissionsEgress : IpPermissions);

function groupFix(
  { ec2, connection: { port } }: PathContext,
  { location, allowedRange, isNode }: Endpoint,
  groupId: string,
): string {
  const ranges = byFamily(
    allowedRange,
    `IpRanges=[{CidrIp=${allowedRange.text}}]`,
    `Ipv6Ranges=[{CidrIpv6=${allowedRange.text}}]`,
  );
  return ec2(
    location,
    `authorize-security-group-${isNode ? 'egress' : 'ingress'}`,
    ...['--group-id', groupId],
    ...['--ip-permissions', `IpProtocol=tcp,FromPort=${port},ToPort=${port},${ranges}`],
  );
}

/** ACLs remember nothing: each direction is read by itself. */
function evaluateAcl(
  context: PathContext,
  endpoint: Endpoint,
  acl: NetworkAcl,
  ports: Ports,
  isEgress: boolean,
): LayerResult {
  const { Entries = [], NetworkAclId: id = '' } = acl;
  const matches = matchAclEntries(Entries, isEgress, endpoint.other.address, ports);
  const denied = matches.filter(({ isAllowed }) => !isAllowed);
  const blocking = denied.find((one) => ports !== ephemeral || intersect(one, linuxEphemeral).length > 0);
  const what = ports === ephemeral ? 'the answers' : 'it';
  const connection = `${isEgress ? 'out to' : 'in from'} ${addressOf(endpoint.other.address)}`;
  const allowed = matches.filter(({ isAllowed }) => isAllowed);
  const evidence = [
    ...(allowed.length > 0 ? [`${id} lets ${what} ${connection} on ${formatAclMatches(allowed)}`] : []),
    ...(denied.length > 0 ? [`${id} refuses ${what} ${connection} on ${formatAclMatches(denied)}`] : []),
  ].join('; ');
  if (!blocking) return { state: 'ok', evidence: `${evidence}.` };
  return {
    state: 'broken',
    evidence: `${evidence}.`,
    fix: aclFix(context, endpoint, acl, ports, isEgress, blocking),
  };
}

const formatAclMatches = (matches: readonly AclMatch[]): string =>
  matches
    .map(({ from, to, entry }) => `${from === to ? `port ${from}` : `ports ${from}-${to}`} (entry ${entry})`)
    .join(', ');

function aclFix(
  { ec2 }: PathContext,
  { location, allowedRange }: Endpoint,
  { Entries = [], NetworkAclId: id = '' }: NetworkAcl,
  { from, to }: Ports,
  isEgress: boolean,
  { entry }: AclMatch,
): string {
  const direction = isEgress ? '--egress' : '--ingress';
  const number = freeEntryNumberBefore(Entries, isEgress, entry);
  if (number === undefined) {
    const description = ['--network-acl-id', id, '--rule-number', String(entry), direction];
    return ec2(location, 'delete-network-acl-entry', ...description);
  }
  return ec2(
    location,
    'create-network-acl-entry',
    ...['--network-acl-id', id, direction, '--rule-number', String(number), '--protocol', '6'],
    ...['--port-range', `From=${from},To=${to}`, byFamily(allowedRange, '--cidr-block', '--ipv6-cidr-block')],
    ...[allowedRange.text, '--rule-action', 'allow'],
  );
}
