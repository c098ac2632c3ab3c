import { iptablesCommand, type Backend, type Family, type Table } from '../model';
import { iptablesTables } from '../tables';

const iptablesChains = ['PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING'];

/** Whether iptables knows a base chain of this name. */
export const isIptablesChain = (name: string): boolean => iptablesChains.includes(name);

/**
 * Whether iptables-nft manages the table, although the dump shows it in nft's format. A rule that nft itself adds to
 * it makes `iptables -L` and `iptables-save` refuse the table (projectcalico/felix#2501).
 */
export function isManagedByIptables({ nft, chains }: Table): boolean {
  if (!nft || (nft.family !== 'ip' && nft.family !== 'ip6') || !iptablesTables.includes(nft.name))
    return false;
  return iptablesChains.some((name) => chains.has(name));
}

/** Returns the backend of the program that owns the table. */
export const backendOfTable = (table: Table): Backend =>
  isManagedByIptables(table) ? 'iptables-nft' : table.backend;

/** Returns the iptables command for the table, or undefined for a table that is changed with nft. */
export function iptablesProgram(table: Table, family: Family): string | undefined {
  const backend = backendOfTable(table);
  return backend === 'nft' ? undefined : iptablesCommand(family, backend);
}
