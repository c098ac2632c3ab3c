import type { Backend, Snapshot } from '../model';
import type { Packet } from '../simulate/packet';
import type { Evaluation } from '../simulate/walk';

const identifier = /^[A-Za-z_][A-Za-z0-9_.-]{0,127}$/;

/** A command for people, made of parsed addresses only. */
export function masqueradeCommand(
  snapshot: Snapshot,
  { source, destination }: Packet,
  backend: Backend,
): string {
  const isIpv6 = destination.family === 6;
  if (backend === 'nft') return nftMasqueradeCommand(snapshot, source.text, destination.text, isIpv6);
  return `${iptablesCommandOf(backend, isIpv6)} -t nat -I POSTROUTING 1 -s ${source.text} -d ${destination.text} -m addrtype ! --dst-type LOCAL -j MASQUERADE`;
}

/** @returns null where a name would not be safe in a command */
export function removeRuleCommand(
  { baseChain: { table }, chain, rule }: Evaluation,
  isIpv6: boolean,
): string | null {
  const [family = '', name = ''] = table.name.split(' ');
  if (!identifier.test(chain.name)) return null;
  if (table.backend !== 'nft')
    return `${iptablesCommandOf(table.backend, isIpv6)} -t ${table.name} -D ${chain.name} ${rule.number}`;
  if (!identifier.test(name)) return null;
  const chainSpec = `${family} ${name} ${chain.name}`;
  return rule.handle === undefined
    ? `nft -a list chain ${chainSpec}`
    : `nft delete rule ${chainSpec} handle ${rule.handle}`;
}

const iptablesCommandOf = (backend: Backend, isIpv6: boolean) =>
  backend.replace('iptables', isIpv6 ? 'ip6tables' : 'iptables');

function nftMasqueradeCommand(
  { baseChains }: Snapshot,
  source: string,
  destination: string,
  isIpv6: boolean,
): string {
  const first = baseChains
    .filter(({ table, isNat, hook }) => table.backend === 'nft' && isNat && hook === 'postrouting')
    .find(({ table, chain }) => {
      const [family = '', name = ''] = table.name.split(' ');
      const hasFamily = family === (isIpv6 ? 'ip6' : 'ip') || family === 'inet';
      return hasFamily && identifier.test(name) && identifier.test(chain.name);
    });
  const ip = isIpv6 ? 'ip6' : 'ip';
  const rule = `${ip} saddr ${source} ${ip} daddr ${destination} fib daddr type != local masquerade`;
  if (first) return `nft insert rule ${first.table.name} ${first.chain.name} ${rule}`;
  return `nft 'add table ${ip} by-hand; add chain ${ip} by-hand postrouting { type nat hook postrouting priority 99; }; add rule ${ip} by-hand postrouting ${rule}'`;
}
