import type { Address } from '../../core/model/cidr';
import { shellQuote } from '../../core/util/shell';

/** The account and region in which a command has to run. */
export interface AccountRegion {
  readonly account: string;
  readonly region: string;
}

/** Builds an `aws ec2` command. Words in capitals are placeholders. */
export type Ec2 = (location: AccountRegion, action: string, ...args: readonly string[]) => string;

/** @param home the account of the current credentials; other accounts get a `--profile` placeholder */
export const makeEc2 =
  (home: string): Ec2 =>
  (location, action, ...args) =>
    [
      ...['aws', 'ec2', action, ...args, '--region', location.region],
      ...(location.account === home ? [] : ['--profile', `PROFILE_OF_${location.account}`]),
    ]
      .map(shellQuote)
      .join(' ');

/** Many options and filters have different names for IPv4 and IPv6. */
export const byFamily = ({ family }: Pick<Address, 'family'>, ipv4: string, ipv6: string): string =>
  family === 4 ? ipv4 : ipv6;

export interface NewRoute {
  readonly tableId: string;
  /** A CIDR or a prefix list. */
  readonly destination: string;
  /** `pcx-…` or `i-…` */
  readonly targetId: string;
}

/** @param action use `replace-route` if a route to the same destination exists */
export const routeCommand = (
  ec2: Ec2,
  action: 'create-route' | 'replace-route',
  { location, tableId, destination, targetId }: NewRoute & { readonly location: AccountRegion },
): string =>
  ec2(
    location,
    action,
    ...['--route-table-id', tableId],
    ...[destinationOption(destination), destination],
    ...[targetId.startsWith('i-') ? '--instance-id' : '--vpc-peering-connection-id', targetId],
  );

function destinationOption(destination: string): string {
  if (destination.startsWith('pl-')) return '--destination-prefix-list-id';
  return destination.includes(':') ? '--destination-ipv6-cidr-block' : '--destination-cidr-block';
}

/** @param vpcId limits the result to this VPC; without it, interfaces in any VPC are listed */
export function describeInterfaceCommand(
  ec2: Ec2,
  location: AccountRegion,
  { address, vpcId }: { readonly address: Address; readonly vpcId?: string },
): string {
  const key = byFamily(address, 'addresses.private-ip-address', 'ipv6-addresses.ipv6-address');
  return ec2(
    location,
    'describe-network-interfaces',
    ...['--filters', `Name=${key},Values=${address.text}`],
    ...(vpcId === undefined ? [] : [`Name=vpc-id,Values=${vpcId}`]),
  );
}
