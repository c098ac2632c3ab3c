import { priorityOf } from './iptables';
import type { Backend, BaseChain, Chain, Family, Rule, Table } from '../model';

/** What a node has, or may have, and the dump does not show. */
export interface UnreadableTable {
  /** `table nat of iptables-legacy`. */
  readonly description: string;
  /** What would show it. */
  readonly program: string;
  readonly backend: Backend;
  /** Of iptables. */
  readonly table: string;
  readonly family: Family;
}

export const tableKeyOf = ({
  backend,
  family,
  table,
}: Pick<UnreadableTable, 'backend' | 'family' | 'table'>) => `${backend} ${family} ${table}`;

export const iptablesCommand = (family: Family) => (family === 6 ? 'ip6tables' : 'iptables');

export function unreadableTable(
  backend: Backend,
  table: string,
  family: Family,
  program: string,
): UnreadableTable {
  const description = `table ${table} of ${backend.replace('iptables', iptablesCommand(family))}`;
  return { description, program, backend, table, family };
}

/** Chains that do nobody knows what. */
export function baseChainsOf(unreadable: UnreadableTable): BaseChain[] {
  const { description, program, backend, table: name, family } = unreadable;
  const rule: Rule = {
    number: 1,
    text: `(${description})`,
    matches: [{ kind: 'unknown', reason: 'the dump does not show it', negated: false, text: 'its rules' }],
    targets: [{ kind: 'unknown' }],
  };
  const table: Table = { backend, name, families: [family], chains: new Map() };
  return (['prerouting', 'output', 'postrouting'] as const).map((hook) => {
    const chain: Chain = { name: hook.toUpperCase(), rules: [rule] };
    return {
      ...{ table, chain, hook, isNat: name === 'nat', priority: priorityOf(name, hook), policy: 'accept' },
      unreadable: `${description}, which the dump does not show: give what \`${program}\` prints too`,
    };
  });
}

/** Of iptables-nft-save (1.8.9): in place of a table, or before one that it shows without the chains of others. */
export function parseUnreadableNotice(text: string): { name: string; isShown: boolean } | undefined {
  const [, name, rest = ''] =
    /^# Table `(\S+)' (is incompatible|contains incompatible base-chains)/.exec(text) ?? [];
  return name === undefined ? undefined : { name, isShown: rest.startsWith('contains') };
}
