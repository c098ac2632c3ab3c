import type { CheckResult } from '../../core/doctor/check';
import { isInternal } from '../../core/model/reserved-ranges';
import { undefinedIfDenied } from './network-reader';
import type { PathContext } from './path-context';
import { rangeWith, type Peering, type Side } from './peerings';

/** Checks whether an active peering leads to the destination. */
export async function checkPeering(context: PathContext): Promise<CheckResult> {
  const { destination } = context.connection;
  const address = destination.text;
  const nextHop = await context.nextHop();
  switch (nextHop.kind) {
    case 'local':
      return { state: 'not-needed', evidence: [`${address} is in the node's own VPC, ${context.vpcId}.`] };
    case 'other': {
      const { tableId, destination: to, target } = nextHop.route;
      return {
        state: 'not-needed',
        evidence: [`${tableId} routes ${to} to ${target.id}, not to a peering.`],
      };
    }
    case 'hidden-peering': {
      const { tableId, destination: to, target } = nextHop.route;
      const evidence = `${tableId} routes ${to} to ${target.id}, an active route. ${context.home.account} cannot describe that peering; only the account that owns ${context.vpcId} can.`;
      return { state: 'unknown', evidence: [evidence] };
    }
    case 'none': {
      if (!isInternal(destination)) {
        const evidence = `${address} is a public address: it is reached through an internet gateway, not a peering.`;
        return { state: 'not-needed', evidence: [evidence] };
      }
      const evidence = `No peering of ${context.vpcId} leads to a VPC that contains ${address}.`;
      return { state: 'broken', evidence: [evidence], fix: await createForDestination(context) };
    }
    case 'peering':
      return evaluatePeering(context, nextHop.peering);
  }
}

function formatSide({ vpcId, account, region, ranges }: Side): string {
  const cidrs = ranges ? ranges.map(({ text }) => text).join(', ') : 'unknown CIDR blocks';
  return `${vpcId} (account ${account}, ${region}, ${cidrs})`;
}

function evaluatePeering(context: PathContext, peering: Peering): CheckResult {
  const { id, status, local, remote } = peering;
  const { destination } = context.connection;
  const evidence = `${id} is ${status} between ${formatSide(local)} and ${formatSide(remote)}.`;
  if (status !== 'active')
    return { state: 'broken', evidence: [evidence], fix: peeringFix(context, peering) };
  if (rangeWith(remote, destination)) return { state: 'ok', evidence: [evidence] };
  const mismatch = `${destination.text} is outside the CIDR blocks of ${remote.vpcId}.`;
  return { state: 'broken', evidence: [mismatch, evidence], fix: createPeering(context) };
}

/** Returns the command that activates the peering, or shows its status while it is being provisioned. */
export function peeringFix(context: PathContext, { id, status, remote, accepter }: Peering): string {
  const { ec2, home } = context;
  switch (status) {
    case 'pending-acceptance':
      return ec2(accepter, 'accept-vpc-peering-connection', '--vpc-peering-connection-id', id);
    case 'provisioning':
    case 'initiating-request':
    case 'active':
      return ec2(home, 'describe-vpc-peering-connections', '--vpc-peering-connection-ids', id);
    default:
      return createPeering(context, remote);
  }
}

function createPeering({ ec2, home, vpcId }: PathContext, remote?: Side): string {
  return ec2(
    home,
    'create-vpc-peering-connection',
    ...['--vpc-id', vpcId, '--peer-vpc-id', remote?.vpcId ?? 'VPC_OF_THE_DESTINATION'],
    ...(remote && remote.account !== home.account ? ['--peer-owner-id', remote.account] : []),
    ...(remote && remote.region !== home.region ? ['--peer-region', remote.region] : []),
  );
}

/**
 * Returns a command that creates a peering. The command names the peer VPC if exactly one VPC of this account and
 * region contains the address.
 */
async function createForDestination(context: PathContext): Promise<string> {
  const { local, home, connection } = context;
  const found = (await undefinedIfDenied(local.interfacesWith(connection.destination.text))) ?? [];
  const [vpcId, ...others] = new Set(found.flatMap(({ VpcId }) => VpcId ?? []));
  const isUnique = vpcId !== undefined && others.length === 0;
  return createPeering(context, isUnique ? { ...home, vpcId } : undefined);
}
