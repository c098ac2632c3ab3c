import type { NetworkAclEntry } from '@aws-sdk/client-ec2';
import { contains, type Cidr } from '../../core/model/cidr';
import { cidrsIn } from './network-reader';

export interface Ports {
  readonly from: number;
  readonly to: number;
}

/** What a network ACL does with a part of the ports, and by which entry. */
export interface AclMatch extends Ports {
  readonly isAllowed: boolean;
  readonly entry: number;
}

/**
 * Entries by number, the first that matches decides (VPC user guide, "Network ACL rules"). Rulings come in the
 * order of the ports and cover all of them.
 */
export function matchAclEntries(
  entries: readonly NetworkAclEntry[],
  isEgress: boolean,
  address: Cidr,
  ports: Ports,
): AclMatch[] {
  const matching = entries
    .filter(({ Egress }) => Egress === isEgress)
    .filter(({ Protocol }) => Protocol === '-1' || Protocol === '6')
    .filter(({ CidrBlock, Ipv6CidrBlock }) =>
      cidrsIn([CidrBlock, Ipv6CidrBlock]).some((range) => contains(range, address)),
    )
    .toSorted((a, b) => entryNumber(a) - entryNumber(b));
  const matches: AclMatch[] = [];
  let remaining: readonly Ports[] = [ports];
  for (const entry of matching) {
    const covered = portsOf(entry);
    const match = { isAllowed: entry.RuleAction === 'allow', entry: entryNumber(entry) };
    matches.push(...remaining.flatMap((one) => intersect(one, covered)).map((one) => ({ ...one, ...match })));
    remaining = remaining.flatMap((one) => subtract(one, covered));
  }
  // What no entry matches is refused, as if by the last one.
  matches.push(...remaining.map((one) => ({ ...one, isAllowed: false, entry: lastEntry })));
  return matches.toSorted((a, b) => a.from - b.from);
}

/** The `*` of the console, which refuses everything. */
const lastEntry = 32_767;

const entryNumber = ({ RuleNumber = lastEntry }: NetworkAclEntry): number => RuleNumber;

const portsOf = ({ Protocol, PortRange }: NetworkAclEntry): Ports =>
  Protocol === '-1' ? { from: 0, to: 65_535 } : { from: PortRange?.From ?? 0, to: PortRange?.To ?? 65_535 };

const isNonEmpty = ({ from, to }: Ports): boolean => from <= to;

export const intersect = (a: Ports, b: Ports): Ports[] =>
  [{ from: Math.max(a.from, b.from), to: Math.min(a.to, b.to) }].filter(isNonEmpty);

const subtract = (a: Ports, b: Ports): Ports[] =>
  intersect(a, b).length === 0
    ? [a]
    : [
        { from: a.from, to: b.from - 1 },
        { from: b.to + 1, to: a.to },
      ].filter(isNonEmpty);

/** The highest number before the entry that is free; undefined where there is none. */
export function freeEntryNumberBefore(
  entries: readonly NetworkAclEntry[],
  isEgress: boolean,
  entry: number,
): number | undefined {
  const used = new Set(entries.filter(({ Egress }) => Egress === isEgress).map(entryNumber));
  for (let number = Math.min(entry, lastEntry) - 1; number > 0; number -= 1) {
    if (!used.has(number)) return number;
  }
  return undefined;
}
