import type { SecurityGroup } from '@aws-sdk/client-ec2';
import { byFamily, describeInterfaceCommand } from './fix-command';
import { describeTraffic, groupIdsOf, type Endpoint, type LayerResult } from './firewall-endpoint';
import { matchPermissions } from './group-match';
import type { PathContext } from './path-context';

/** Evaluates security groups. They are stateful, so return traffic of an allowed connection needs no rule. */
export async function evaluateGroups(context: PathContext, endpoint: Endpoint): Promise<LayerResult> {
  const { port } = context.connection;
  const { other, reader, direction } = endpoint;
  const ids = groupIdsOf(endpoint.networkInterface);
  const groups = (await Promise.all(ids.map((id) => reader.group(id)))).filter((one) => one !== undefined);
  const traffic = `${describeTraffic(direction, 'traffic', other.address)} on port ${port}`;
  const matches = await Promise.all(
    groups.map(async (group) => {
      const match = await matchPermissions(reader, permissionsOf(group, endpoint), { other, port });
      return match ? [{ ...match, id: group.GroupId ?? '' }] : [];
    }),
  );
  const [match] = matches.flat().toSorted((a, b) => Number(b.isCertain) - Number(a.isCertain));
  if (match?.isCertain)
    return { state: 'ok', evidence: `${match.id} allows ${traffic} (rule: ${match.rule}).` };
  if (match) {
    const address = other.address.text;
    return {
      state: 'unknown',
      evidence: `${match.id} has a matching rule (${match.rule}), but it is unknown whether ${address} is in that group.`,
      fix: describeInterfaceCommand(context.ec2, endpoint.otherLocation, other),
    };
  }
  return {
    state: 'broken',
    evidence: `No rule of ${ids.join(', ')} allows ${traffic}.`,
    fix: allowInGroup(context, endpoint, ids[0] ?? 'GROUP_ID'),
  };
}

const permissionsOf = (
  { IpPermissions = [], IpPermissionsEgress = [] }: SecurityGroup,
  { direction }: Endpoint,
) => (direction === 'egress' ? IpPermissionsEgress : IpPermissions);

function allowInGroup(
  { ec2, connection: { port } }: PathContext,
  { location, allowedRange, direction }: Endpoint,
  groupId: string,
): string {
  const ranges = byFamily(
    allowedRange,
    `IpRanges=[{CidrIp=${allowedRange.text}}]`,
    `Ipv6Ranges=[{CidrIpv6=${allowedRange.text}}]`,
  );
  return ec2(
    location,
    `authorize-security-group-${direction}`,
    ...['--group-id', groupId],
    ...['--ip-permissions', `IpProtocol=tcp,FromPort=${port},ToPort=${port},${ranges}`],
  );
}
