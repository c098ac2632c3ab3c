import type { NetworkAcl, NetworkInterface, SecurityGroup } from '@aws-sdk/client-ec2';
import { addressOf, contains, type Cidr } from '../../core/cidr';
import type { Check } from '../../core/reach';
import { rangesOf } from '../networks';
import { common, numberBefore, rulingsOf, type Ports, type Ruling } from './acl';
import { byFamily, type Place } from './command';
import { permitting, type Other } from './groups';
import { hasAddress, type Scene } from './scene';
import { ifAllowed, type Sight } from './sight';

/** Ports that an answer may go to: what masquerading may give a connection. */
const ephemeral: Ports = { from: 1_024, to: 65_535 };
/** Those that Linux takes unless it has to give another one. */
const usual: Ports = { from: 32_768, to: 60_999 };

/** One end of the connection, and where its firewalls are read. */
interface End {
  readonly sight: Sight;
  readonly place: Place;
  readonly face: NetworkInterface;
  readonly other: Other;
  /** Where the interface of the other end is asked for. */
  readonly otherPlace: Place;
  /** What a cure opens for: the other end, or all that may stand in its place. */
  readonly opened: Cidr;
  readonly isNode: boolean;
  /** Network ACLs stand between subnets only. */
  readonly isOneSubnet: boolean;
}

interface Finding {
  readonly state: 'ok' | 'broken' | 'unknown';
  readonly evidence: string;
  readonly cure?: string;
}

/** Lets the node's interface the connection out, and its answers in? */
export async function checkNode(scene: Scene): Promise<Check> {
  const link = 'firewall-node';
  const { near, home, way, instanceId } = scene;
  const face = await scene.nearInterface();
  if (!face) return { link, state: 'unknown', evidence: [`No interface of ${instanceId} is to be seen.`] };
  const far = await ifAllowed(scene.farInterface());
  const other = { address: way.destination, groupIds: far && groupsOf(far) };
  const otherPlace = (await ifAllowed(scene.far())) ?? home;
  const end = { sight: near, place: home, face, other, otherPlace, opened: way.destination, isNode: true };
  return { link, ...(await judge(scene, { ...end, isOneSubnet: face.SubnetId === far?.SubnetId })) };
}

/** Lets the destination's interface the connection in, and its answers out? */
export async function checkPeer(scene: Scene): Promise<Check> {
  const link = 'firewall-peer';
  const far = await scene.far();
  const address = addressOf(scene.way.destination);
  if (!far) {
    return { link, state: 'unknown', evidence: [`${address} is in no VPC that is to be seen from here.`] };
  }
  const { vpcId, account, sight } = far;
  const cure = showInterface(scene, far, scene.way.destination, `Name=vpc-id,Values=${vpcId}`);
  if (!sight) {
    const evidence = [
      `The firewalls of ${vpcId} are those of account ${account}, and not to be seen from here.`,
    ];
    return { link, state: 'unknown', evidence, cure };
  }
  const face = await scene.farInterface();
  if (!face) return { link, state: 'unknown', evidence: [`No interface in ${vpcId} has ${address}.`], cure };
  const node = await ifAllowed(scene.nearInterface());
  const { source } = scene.way;
  const groupIds = node && (hasAddress(node, source) ? groupsOf(node) : []);
  const other = { address: source, groupIds };
  const opened = await nodesRange(scene);
  const end = { sight, place: far, face, other, otherPlace: scene.home, opened, isNode: false };
  return { link, ...(await judge(scene, { ...end, isOneSubnet: face.SubnetId === node?.SubnetId })) };
}

function showInterface({ ec2 }: Scene, place: Place, address: Cidr, ...filters: readonly string[]): string {
  const key = byFamily(address, 'addresses.private-ip-address', 'ipv6-addresses.ipv6-address');
  const filter = `Name=${key},Values=${addressOf(address)}`;
  return ec2(place, 'describe-network-interfaces', '--filters', filter, ...filters);
}

const groupsOf = ({ Groups = [] }: NetworkInterface): string[] =>
  Groups.flatMap(({ GroupId }) => GroupId ?? []);

/** Every node of the cluster has to get through, not just this one. */
async function nodesRange({ near, vpcId, way: { source } }: Scene): Promise<Cidr> {
  const vpc = await ifAllowed(near.vpc(vpcId));
  return ((vpc && rangesOf(vpc)) ?? []).find((range) => contains(range, source)) ?? source;
}

async function judge(scene: Scene, end: End): Promise<Omit<Check, 'link'>> {
  const { port } = scene.way;
  const acl = end.isOneSubnet ? undefined : await end.sight.acl(end.face.SubnetId ?? '');
  const findings = [
    await readGroups(scene, end),
    ...(acl ? [readAcl(scene, end, acl, { from: port, to: port }, end.isNode)] : []),
    ...(acl ? [readAcl(scene, end, acl, ephemeral, !end.isNode)] : []),
  ];
  // What decides is told first.
  const worstFirst = (['broken', 'unknown', 'ok'] as const).flatMap((state) =>
    findings.filter((one) => one.state === state),
  );
  const [{ state, cure }] = worstFirst as [Finding];
  return {
    state,
    evidence: worstFirst.map(({ evidence }) => evidence),
    ...(cure !== undefined && { cure }),
  };
}

/** Groups remember connections: what lets the first packet through lets the answers through too. */
async function readGroups(scene: Scene, end: End): Promise<Finding> {
  const { port } = scene.way;
  const ids = groupsOf(end.face);
  const groups = (await Promise.all(ids.map((id) => end.sight.group(id)))).filter((one) => one !== undefined);
  const way = `${end.isNode ? 'out to' : 'in from'} ${addressOf(end.other.address)} on port ${port}`;
  const permits = await Promise.all(
    groups.map(async (group) => {
      const permit = await permitting(end.sight, permissionsOf(group, end), end.other, port);
      return permit ? [{ ...permit, id: group.GroupId ?? '' }] : [];
    }),
  );
  const permit = permits.flat().toSorted((a, b) => Number(b.isCertain) - Number(a.isCertain))[0];
  if (permit?.isCertain) {
    return { state: 'ok', evidence: `${permit.id} lets it ${way}: it allows ${permit.words}.` };
  }
  if (permit) {
    const evidence = `${permit.id} allows ${permit.words}; whether ${addressOf(end.other.address)} is of that group is not to be seen.`;
    return { state: 'unknown', evidence, cure: showInterface(scene, end.otherPlace, end.other.address) };
  }
  return {
    state: 'broken',
    evidence: `No rule of ${ids.join(', ')} lets it ${way}.`,
    cure: groupCure(scene, end, ids[0] ?? 'GROUP_ID'),
  };
}

const permissionsOf = ({ IpPermissions = [], IpPermissionsEgress = [] }: SecurityGroup, { isNode }: End) =>
  isNode ? IpPermissionsEgress : IpPermissions;

function groupCure({ ec2, way: { port } }: Scene, { place, opened, isNode }: End, groupId: string): string {
  const ranges = byFamily(
    opened,
    `IpRanges=[{CidrIp=${opened.text}}]`,
    `Ipv6Ranges=[{CidrIpv6=${opened.text}}]`,
  );
  return ec2(
    place,
    `authorize-security-group-${isNode ? 'egress' : 'ingress'}`,
    ...['--group-id', groupId],
    ...['--ip-permissions', `IpProtocol=tcp,FromPort=${port},ToPort=${port},${ranges}`],
  );
}

/** ACLs remember nothing: each direction is read by itself. */
function readAcl(scene: Scene, end: End, acl: NetworkAcl, ports: Ports, isEgress: boolean): Finding {
  const { Entries = [], NetworkAclId: id = '' } = acl;
  const rulings = rulingsOf(Entries, isEgress, end.other.address, ports);
  const refused = rulings.filter(({ isAllowed }) => !isAllowed);
  const matters = refused.find((one) => ports !== ephemeral || common(one, usual).length > 0);
  const what = ports === ephemeral ? 'the answers' : 'it';
  const way = `${isEgress ? 'out to' : 'in from'} ${addressOf(end.other.address)}`;
  const lets = rulings.filter(({ isAllowed }) => isAllowed);
  const evidence = [
    ...(lets.length > 0 ? [`${id} lets ${what} ${way} on ${inWords(lets)}`] : []),
    ...(refused.length > 0 ? [`${id} refuses ${what} ${way} on ${inWords(refused)}`] : []),
  ].join('; ');
  if (!matters) return { state: 'ok', evidence: `${evidence}.` };
  return {
    state: 'broken',
    evidence: `${evidence}.`,
    cure: aclCure(scene, end, acl, ports, isEgress, matters),
  };
}

const inWords = (rulings: readonly Ruling[]): string =>
  rulings
    .map(({ from, to, entry }) => `${from === to ? `port ${from}` : `ports ${from}-${to}`} (entry ${entry})`)
    .join(', ');

function aclCure(
  { ec2 }: Scene,
  { place, opened }: End,
  { Entries = [], NetworkAclId: id = '' }: NetworkAcl,
  { from, to }: Ports,
  isEgress: boolean,
  { entry }: Ruling,
): string {
  const direction = isEgress ? '--egress' : '--ingress';
  const number = numberBefore(Entries, isEgress, entry);
  if (number === undefined) {
    const words = ['--network-acl-id', id, '--rule-number', String(entry), direction];
    return ec2(place, 'delete-network-acl-entry', ...words);
  }
  return ec2(
    place,
    'create-network-acl-entry',
    ...['--network-acl-id', id, direction, '--rule-number', String(number), '--protocol', '6'],
    ...['--port-range', `From=${from},To=${to}`, byFamily(opened, '--cidr-block', '--ipv6-cidr-block')],
    ...[opened.text, '--rule-action', 'allow'],
  );
}
