import type { Host } from '../../lab/netns';
import { sh } from '../network';

/** Returns the lines of a node's kernel state that decide where packets go, without counters. */
export async function kernelState(node: Host): Promise<string[]> {
  const text = await sh(
    node,
    `iptables-nft-save; iptables-legacy-save; ip6tables-nft-save; ip6tables-legacy-save
    ip rule; ip route show table all; ip -6 rule; ip -6 route show table all; ipset save
    ! nft --version >/dev/null 2>&1 || nft list tables`,
  );
  return text
    .split('\n')
    .filter((line) => !noise.test(line))
    .map((line) => line.replace(/ ?\[\d+:\d+\]/, '').trim());
}

// Tables and built-in chains remain when their last rule is removed, but have no effect.
const noise = /^(#|\*|COMMIT|:[A-Z]+ ACCEPT|table ip6? (nat|mangle|filter|raw)$|$)/;

/** Returns the lines without what peermasq may add: chains, sets and tables with its name, and its ip rule. */
export const withoutOurs = (lines: readonly string[]) =>
  lines.filter((line) => !/peermasq|fwmark 0x1000\/0x1000 lookup main/i.test(line));

/** Returns the lines that were removed, with `-`, and the lines that were added, with `+`. */
export function difference(before: readonly string[], after: readonly string[]): string[] {
  const missing = (these: readonly string[], those: readonly string[]) => {
    const remaining = [...those];
    return these.filter((line) => {
      const index = remaining.indexOf(line);
      if (index >= 0) remaining.splice(index, 1);
      return index < 0;
    });
  };
  return [
    ...missing(before, after).map((line) => `- ${line}`),
    ...missing(after, before).map((line) => `+ ${line}`),
  ];
}
