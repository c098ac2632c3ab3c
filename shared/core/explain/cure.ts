import type { Backend, Snapshot } from './model';
import type { Packet } from './packet';
import type { Sight } from './walk';

const identifier = /^[A-Za-z_][A-Za-z0-9_.-]{0,127}$/;

/** A command for people, made of parsed addresses only. */
export function cureFor(snapshot: Snapshot, { source, destination }: Packet, backend: Backend): string {
  const isIpv6 = destination.family === 6;
  if (backend === 'nft') return nftCure(snapshot, source.text, destination.text, isIpv6);
  return `${programOf(backend, isIpv6)} -t nat -I POSTROUTING 1 -s ${source.text} -d ${destination.text} -m addrtype ! --dst-type LOCAL -j MASQUERADE`;
}

/** @returns null where a name would not be safe in a command */
export function removalOf({ base: { table }, chain, rule }: Sight, isIpv6: boolean): string | null {
  const [family = '', name = ''] = table.name.split(' ');
  if (!identifier.test(chain.name)) return null;
  if (table.backend !== 'nft')
    return `${programOf(table.backend, isIpv6)} -t ${table.name} -D ${chain.name} ${rule.number}`;
  if (!identifier.test(name)) return null;
  const place = `${family} ${name} ${chain.name}`;
  return rule.handle === undefined
    ? `nft -a list chain ${place}`
    : `nft delete rule ${place} handle ${rule.handle}`;
}

const programOf = (backend: Backend, isIpv6: boolean) =>
  backend.replace('iptables', isIpv6 ? 'ip6tables' : 'iptables');

function nftCure({ bases }: Snapshot, source: string, destination: string, isIpv6: boolean): string {
  const first = bases
    .filter(({ table, isNat, hook }) => table.backend === 'nft' && isNat && hook === 'postrouting')
    .find(({ table, chain }) => {
      const [family = '', name = ''] = table.name.split(' ');
      const isRight = family === (isIpv6 ? 'ip6' : 'ip') || family === 'inet';
      return isRight && identifier.test(name) && identifier.test(chain.name);
    });
  const ip = isIpv6 ? 'ip6' : 'ip';
  const rule = `${ip} saddr ${source} ${ip} daddr ${destination} fib daddr type != local masquerade`;
  if (first) return `nft insert rule ${first.table.name} ${first.chain.name} ${rule}`;
  return `nft 'add table ${ip} by-hand; add chain ${ip} by-hand postrouting { type nat hook postrouting priority 99; }; add rule ${ip} by-hand postrouting ${rule}'`;
}
