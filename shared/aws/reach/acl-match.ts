import type { NetworkAclEntry } from '@aws-sdk/client-ec2';
import { contains, type Address } from '../../core/model/cidr';
import { validCidrs } from './network-reader';

export type Direction = 'ingress' | 'egress';

export interface Ports {
  readonly from: number;
  readonly to: number;
}

/** Whether a network ACL allows a range of ports, and the number of the rule that decides. */
export interface AclMatch extends Ports {
  readonly isAllowed: boolean;
  readonly rule: number;
}

export interface AclTraffic {
  readonly direction: Direction;
  readonly address: Address;
  readonly ports: Ports;
}

/**
 * Returns the rule that decides for each port. Rules apply in order of their numbers, and the first match decides (VPC
 * user guide, "Network ACL rules").
 * @returns the matches in order of their ports; together they cover all ports
 */
export function matchAclEntries(
  entries: readonly NetworkAclEntry[],
  { direction, address, ports }: AclTraffic,
): AclMatch[] {
  const matching = entries
    .filter((entry) => directionOf(entry) === direction)
    .filter(({ Protocol }) => Protocol === '-1' || Protocol === '6')
    .filter(({ CidrBlock, Ipv6CidrBlock }) =>
      validCidrs([CidrBlock, Ipv6CidrBlock]).some((range) => contains(range, address)),
    )
    .toSorted((a, b) => ruleNumber(a) - ruleNumber(b));
  const matches: AclMatch[] = [];
  let remaining: readonly Ports[] = [ports];
  for (const entry of matching) {
    const covered = portsOf(entry);
    const isAllowed = entry.RuleAction === 'allow';
    const rule = ruleNumber(entry);
    for (const part of remaining.flatMap((one) => intersect(one, covered)))
      matches.push({ ...part, isAllowed, rule });
    remaining = remaining.flatMap((one) => subtract(one, covered));
  }
  for (const part of remaining) matches.push({ ...part, isAllowed: false, rule: defaultRule });
  return matches.toSorted((a, b) => a.from - b.from);
}

/** The number of the default rule, which denies traffic that no other rule matches. The console shows it as `*`. */
export const defaultRule = 32_767;

const ruleNumber = ({ RuleNumber = defaultRule }: NetworkAclEntry): number => RuleNumber;

const directionOf = ({ Egress }: NetworkAclEntry): Direction => (Egress ? 'egress' : 'ingress');

const portsOf = ({ Protocol, PortRange }: NetworkAclEntry): Ports =>
  Protocol === '-1' ? { from: 0, to: 65_535 } : { from: PortRange?.From ?? 0, to: PortRange?.To ?? 65_535 };

const isNonEmpty = ({ from, to }: Ports): boolean => from <= to;

export const intersect = (a: Ports, b: Ports): Ports[] =>
  [{ from: Math.max(a.from, b.from), to: Math.min(a.to, b.to) }].filter(isNonEmpty);

function subtract(a: Ports, b: Ports): Ports[] {
  if (intersect(a, b).length === 0) return [a];
  const parts = [
    { from: a.from, to: b.from - 1 },
    { from: b.to + 1, to: a.to },
  ];
  return parts.filter(isNonEmpty);
}

/** Returns the highest free rule number before `rule`, or undefined if there is none. */
export function freeRuleNumberBefore(
  entries: readonly NetworkAclEntry[],
  direction: Direction,
  rule: number,
): number | undefined {
  const used = new Set(entries.filter((entry) => directionOf(entry) === direction).map(ruleNumber));
  for (let number = Math.min(rule, defaultRule) - 1; number > 0; number -= 1) {
    if (!used.has(number)) return number;
  }
  return undefined;
}
