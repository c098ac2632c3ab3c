import type { Chain, Rule, Table } from '../model';
import type { Snapshot } from '../snapshot';

/** Returns the snapshot as it would be if the chains had these rules. */
export function replaceRules(snapshot: Snapshot, rulesOf: ReadonlyMap<Chain, readonly Rule[]>): Snapshot {
  const chains = new Map([...rulesOf].map(([chain, rules]) => [chain, { ...chain, rules: [...rules] }]));
  const chainOf = (chain: Chain): Chain => chains.get(chain) ?? chain;
  const tables = new Map<Table, Table>();
  const tableOf = (table: Table): Table => {
    const known = tables.get(table);
    if (known) return known;
    const copy = {
      ...table,
      chains: new Map([...table.chains].map(([name, chain]) => [name, chainOf(chain)])),
    };
    tables.set(table, copy);
    return copy;
  };
  const baseChains = snapshot.baseChains.map((baseChain) => ({
    ...baseChain,
    table: tableOf(baseChain.table),
    chain: chainOf(baseChain.chain),
  }));
  return { ...snapshot, baseChains };
}
