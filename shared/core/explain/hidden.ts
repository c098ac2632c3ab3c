import { priorityOf } from './iptables';
import type { Backend, Base, Chain, Family, Rule, Table } from './model';

/** What a node has, or may have, and the dump does not show. */
export interface Hidden {
  /** `table nat of iptables-legacy`. */
  readonly what: string;
  /** What would show it. */
  readonly program: string;
  readonly backend: Backend;
  /** Of iptables. */
  readonly table: string;
  readonly family: Family;
}

export const keyOf = ({ backend, family, table }: Pick<Hidden, 'backend' | 'family' | 'table'>) =>
  `${backend} ${family} ${table}`;

export const programOf = (family: Family) => (family === 6 ? 'ip6tables' : 'iptables');

export function hiddenTable(backend: Backend, table: string, family: Family, program: string): Hidden {
  const what = `table ${table} of ${backend.replace('iptables', programOf(family))}`;
  return { what, program, backend, table, family };
}

/** Chains that do nobody knows what. */
export function basesOf(hidden: Hidden): Base[] {
  const { what, program, backend, table: name, family } = hidden;
  const rule: Rule = {
    number: 1,
    text: `(${what})`,
    matches: [{ kind: 'unknown', why: 'the dump does not show it', negated: false, text: 'its rules' }],
    targets: [{ kind: 'unknown' }],
  };
  const table: Table = { backend, name, families: [family], chains: new Map() };
  return (['prerouting', 'output', 'postrouting'] as const).map((hook) => {
    const chain: Chain = { name: hook.toUpperCase(), rules: [rule] };
    return {
      ...{ table, chain, hook, isNat: name === 'nat', priority: priorityOf(name, hook), policy: 'accept' },
      hidden: `${what}, which the dump does not show: give what \`${program}\` prints too`,
    };
  });
}

/** Of iptables-nft-save (1.8.9): in place of a table, or before one that it shows without the chains of others. */
export function readConcealed(text: string): { name: string; isShown: boolean } | undefined {
  const [, name, rest = ''] =
    /^# Table `(\S+)' (is incompatible|contains incompatible base-chains)/.exec(text) ?? [];
  return name === undefined ? undefined : { name, isShown: rest.startsWith('contains') };
}
