import {
  iptablesCommand,
  unknownMatch,
  type Backend,
  type BaseChain,
  type Chain,
  type Family,
  type Rule,
  type Table,
} from '../model';
import { priorityOf } from './iptables';

/** A table of iptables. */
interface TableKey {
  readonly backend: Backend;
  readonly family: Family;
  readonly name: string;
}

const keyOf = ({ backend, family, name }: TableKey) => `${backend} ${family} ${name}`;

/** A table that a node has, or may have, but that the dump does not show. */
interface UnreadableTable extends TableKey {
  /** `table nat of iptables-legacy`. */
  readonly description: string;
  /** Prints the table. */
  readonly command: string;
}

function unreadableTable(key: TableKey, command: string): UnreadableTable {
  return { ...key, command, description: `table ${key.name} of ${iptablesCommand(key.family, key.backend)}` };
}

/** Printed by iptables-nft-save 1.8.9 in place of a table that nft has changed, or before it. */
interface UnreadableNotice {
  readonly name: string;
  /** The table follows, without the chains that nft added. */
  readonly isPartlyShown: boolean;
}

export function parseUnreadableNotice(text: string): UnreadableNotice | undefined {
  const [, name, rest = ''] =
    /^# Table `(\S+)' (is incompatible|contains incompatible base-chains)/.exec(text) ?? [];
  return name === undefined ? undefined : { name, isPartlyShown: rest.startsWith('contains') };
}

/** The tables of iptables, those that the dump shows and those that it does not. */
export class TableCoverage {
  private readonly baseChains = new Map<string, readonly BaseChain[]>();
  private readonly unreadable = new Map<string, UnreadableTable>();
  private readonly partlyUnreadable = new Map<string, UnreadableTable>();
  /** Families whose table nat is shown, or shown to be absent. */
  private readonly covered = new Set<Family>();
  private notices: UnreadableNotice[] = [];

  add(key: TableKey, baseChains: readonly BaseChain[]): void {
    if (key.name === 'nat') this.covered.add(key.family);
    this.baseChains.set(keyOf(key), baseChains);
    this.unreadable.delete(keyOf(key));
  }

  /** The dump would show table nat of these families if there was one. */
  cover(...families: readonly Family[]): void {
    for (const family of families) this.covered.add(family);
  }

  /** @param command prints table nat of this backend */
  addUnreadableNat(backend: Backend, family: Family, command: string): void {
    this.addUnreadable(unreadableTable({ backend, family, name: 'nat' }, command));
  }

  /** A notice precedes the header that says which family it is about. */
  addNotice(notice: UnreadableNotice): void {
    this.notices.push(notice);
  }

  /** @param families of the header that follows the notices, and of the program before it, if known */
  flushNotices(next: Family, previous: Family | undefined): void {
    for (const { name, isPartlyShown } of this.notices.splice(0)) {
      // A table that is shown belongs to the header that follows; one that is not may belong to either.
      const families = isPartlyShown ? [next] : [next, previous ?? next];
      for (const family of families) {
        const table = unreadableTable({ backend: 'iptables-nft', family, name }, 'nft -j list ruleset');
        if (isPartlyShown)
          this.partlyUnreadable.set(keyOf(table), {
            ...table,
            description: `chains that nft added to ${table.description}`,
          });
        else this.addUnreadable(table);
      }
    }
  }

  /** @param native the base chains that nft prints; undefined if the dump has no output of nft */
  allBaseChains(native: readonly BaseChain[] | undefined): BaseChain[] {
    for (const family of [4, 6] as const) if (!this.covered.has(family)) this.addMissingNat(family);
    if (!native)
      return [
        ...[...this.baseChains.values()].flat(),
        ...[...this.partlyUnreadable.values()].flatMap(unreadableBaseChains),
      ];
    // nft prints the content of the tables that iptables-nft only names.
    for (const [key, { backend }] of this.unreadable)
      if (backend === 'iptables-nft') this.baseChains.delete(key);
    const additional = native.filter((baseChain) => !this.isShownByIptables(baseChain));
    return [...[...this.baseChains.values()].flat(), ...additional];
  }

  /** iptables-nft-save prints its chains in more detail than nft does. */
  private isShownByIptables({ table, chain, hook, priority }: BaseChain): boolean {
    if (table.nft?.family !== 'ip' && table.nft?.family !== 'ip6') return false;
    const family = table.nft.family === 'ip6' ? 6 : 4;
    const key = keyOf({ backend: 'iptables-nft', family, name: table.nft.name });
    const shown = this.baseChains.get(key);
    if (!shown || !this.partlyUnreadable.has(key)) return shown !== undefined;
    return shown.some(
      (other) => other.chain.name === chain.name && other.hook === hook && other.priority === priority,
    );
  }

  private addMissingNat(family: Family): void {
    const key: TableKey = { backend: 'iptables-nft', family, name: 'nat' };
    const table = unreadableTable(key, `${iptablesCommand(family)}-save`);
    this.addUnreadable({ ...table, description: `table nat for IPv${family}` });
  }

  private addUnreadable(table: UnreadableTable): void {
    const key = keyOf(table);
    if (this.baseChains.has(key)) return;
    if (table.name === 'nat') this.covered.add(table.family);
    this.baseChains.set(key, unreadableBaseChains(table));
    this.unreadable.set(key, table);
  }
}

/** Chains of which only the hooks are known. */
function unreadableBaseChains(unreadable: UnreadableTable): BaseChain[] {
  const { backend, family, name, description, command } = unreadable;
  const rule: Rule = {
    number: 1,
    text: `(${description})`,
    matches: [unknownMatch('its rules', 'not in the dump')],
    targets: [{ kind: 'unknown' }],
  };
  const table: Table = { backend, name, families: [family], chains: new Map() };
  return (['prerouting', 'output', 'postrouting'] as const).map((hook) => {
    const chain: Chain = { name: hook.toUpperCase(), rules: [rule] };
    return {
      table,
      chain,
      hook,
      isNat: name === 'nat',
      priority: priorityOf(name, hook),
      policy: 'accept',
      unreadable: `${description}, which is not in the dump: add the output of \`${command}\``,
    };
  });
}
