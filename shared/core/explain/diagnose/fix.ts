import { toCidr } from '../../model/cidr';
import { iptablesCommand, type Backend, type Family } from '../model';
import type { Evaluation } from '../simulate/trace';
import type { Packet } from '../simulate/packet';
import type { Snapshot } from '../snapshot';

const identifier = /^[A-Za-z_][A-Za-z0-9_.-]{0,127}$/;

/** Returns a command for an operator to run. From the dump it includes only parsed addresses, never other text. */
export function masqueradeCommand(snapshot: Snapshot, packet: Packet, backend: Backend): string {
  const { family } = packet.destination;
  const source = toCidr(packet.source).text;
  const destination = toCidr(packet.destination).text;
  if (backend !== 'nft')
    return `${iptablesCommand(family, backend)} -t nat -I POSTROUTING 1 -s ${source} -d ${destination} -m addrtype ! --dst-type LOCAL -j MASQUERADE`;
  const ip = ipFamily(family);
  const rule = `${ip} saddr ${source} ${ip} daddr ${destination} fib daddr type != local masquerade`;
  const existing = findNftChain(snapshot, family);
  if (existing) return `nft insert rule ${existing.table.name} ${existing.chain.name} ${rule}`;
  const table = `${ip} manual-masquerade`;
  return `nft 'add table ${table}; add chain ${table} postrouting { type nat hook postrouting priority 99; }; add rule ${table} postrouting ${rule}'`;
}

const ipFamily = (family: Family) => (family === 6 ? 'ip6' : 'ip');

function findNftChain({ baseChains }: Snapshot, family: Family) {
  return baseChains
    .filter(({ table, isNat, hook }) => table.backend === 'nft' && isNat && hook === 'postrouting')
    .find(({ table, chain }) => {
      const hasFamily = table.nft?.family === ipFamily(family) || table.nft?.family === 'inet';
      return hasFamily && identifier.test(table.nft.name) && identifier.test(chain.name);
    });
}

/** @returns null if a name in the command would not be safe to paste into a shell */
export function removeRuleCommand(
  { baseChain: { table }, chain, rule }: Evaluation,
  family: Family,
): string | null {
  if (!identifier.test(chain.name)) return null;
  if (!table.nft)
    return `${iptablesCommand(family, table.backend)} -t ${table.name} -D ${chain.name} ${rule.number}`;
  if (!identifier.test(table.nft.name)) return null;
  const chainSpec = `${table.name} ${chain.name}`;
  return rule.handle === undefined
    ? `nft -a list chain ${chainSpec}`
    : `nft delete rule ${chainSpec} handle ${rule.handle}`;
}
