import type { Line } from './input';

/** Chains and targets that exist in one table only, or that matter in one only. */
const signs: readonly (readonly [table: string, sign: RegExp])[] = [
  ['nat', /-j (?:MASQUERADE|SNAT|DNAT|REDIRECT|NETMAP)\b/],
  ['filter', /-j (?:DROP|REJECT)\b|^-[AP] (?:FORWARD|INPUT) /],
  ['raw', /-j (?:NOTRACK|CT)\b/],
  ['mangle', /-j (?:TPROXY|TCPMSS|DSCP|TOS|TTL|CLASSIFY)\b/],
  ['nat', /^-[APN] (?:POSTROUTING|PREROUTING|KUBE-|CNI-|IP-MASQ|AWS-SNAT|FLANNEL-)/],
];

/** Guesses the table of rules that are shown without it. */
export function guessTable(lines: readonly Line[]): string {
  const found = signs.find(([, sign]) => lines.some(({ text }) => sign.test(text.trim())));
  return found?.[0] ?? 'filter';
}
