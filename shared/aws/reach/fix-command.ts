import type { Cidr } from '../../core/model/cidr';
import { shellQuote } from '../../core/util/shell';

/** Where a command is to be run. */
export interface AccountRegion {
  readonly account: string;
  readonly region: string;
}

/** A command of the AWS command line, to be typed as it is but for words in capitals. */
export type Ec2 = (location: AccountRegion, action: string, ...args: readonly string[]) => string;

/** @param home the account whose credentials are in use: another one takes a profile of its own */
export const makeEc2 =
  (home: string): Ec2 =>
  (location, action, ...args) =>
    [
      ...['aws', 'ec2', action, ...args, '--region', location.region],
      ...(location.account === home ? [] : ['--profile', `PROFILE_OF_${location.account}`]),
    ]
      .map(shellQuote)
      .join(' ');

/** Options have other names for IPv6. */
export const byFamily = ({ family }: Cidr, ipv4: string, ipv6: string): string =>
  family === 4 ? ipv4 : ipv6;
