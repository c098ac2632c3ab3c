import type { Cidr } from '../../core/cidr';
import { shellWord } from '../../core/shell';

/** Where a command is to be run. */
export interface Place {
  readonly account: string;
  readonly region: string;
}

/** A command of the AWS command line, to be typed as it is but for words in capitals. */
export type Ec2 = (place: Place, action: string, ...words: readonly string[]) => string;

/** @param home the account whose credentials are in use: another one takes a profile of its own */
export const makeEc2 =
  (home: string): Ec2 =>
  (place, action, ...words) =>
    [
      ...['aws', 'ec2', action, ...words, '--region', place.region],
      ...(place.account === home ? [] : ['--profile', `PROFILE_OF_${place.account}`]),
    ]
      .map(shellWord)
      .join(' ');

/** Options have other names for IPv6. */
export const byFamily = ({ family }: Cidr, ipv4: string, ipv6: string): string =>
  family === 4 ? ipv4 : ipv6;
