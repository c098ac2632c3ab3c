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
import { priorityOf } from '../tables';

/** Identifies a table of iptables. */
interface TableKey {
  readonly backend: Backend;
  readonly family: Family;
  readonly name: string;
}

const keyOf = ({ backend, family, name }: TableKey) => `${backend} ${family} ${name}`;

/** A table that exists or may exist on the node, but is missing from the dump. */
interface UnreadableTable extends TableKey {
  /** `table nat of iptables-legacy`. */
  readonly description: string;
  /** The command that prints the table. */
  readonly command: string;
}

function unreadableTable(key: TableKey, command: string): UnreadableTable {
  return { ...key, command, description: `table ${key.name} of ${iptablesCommand(key.family, key.backend)}` };
}

/**
 * A notice that iptables-nft-save 1.8.9 prints for a table that was changed with nft, either before the table or
 * instead of it.
 */
interface UnreadableNotice {
  readonly name: string;
  /** Whether the notice is followed by the table, from which the chains added with nft are missing. */
  readonly isPartlyShown: boolean;
}

export function parseUnreadableNotice(text: string): UnreadableNotice | undefined {
  const [, name, rest = ''] =
    /^# Table `(\S+)' (is incompatible|contains incompatible base-chains)/.exec(text) ?? [];
  return name === undefined ? undefined : { name, isPartlyShown: rest.startsWith('contains') };
}

/** Records which iptables tables the dump shows, and which tables it does not show. */
export class TableCoverage {
  private readonly baseChains = new Map<string, readonly BaseChain[]>();
  private readonly unreadable = new Map<string, UnreadableTable>();
  private readonly partlyUnreadable = new Map<string, UnreadableTable>();
  /** Address families for which the dump shows table nat, or shows that table nat does not exist. */
  private readonly covered = new Set<Family>();
  private notices: UnreadableNotice[] = [];

  add(key: TableKey, baseChains: readonly BaseChain[]): void {
    if (key.name === 'nat') this.covered.add(key.family);
    // Where the backend is not named, two tables with the same name belong to two backends.
    const others = key.backend === 'iptables' ? (this.baseChains.get(keyOf(key)) ?? []) : [];
    this.baseChains.set(keyOf(key), [...others, ...baseChains]);
    this.unreadable.delete(keyOf(key));
  }

  /** Records that the dump would show table nat of these families if the table existed. */
  cover(...families: readonly Family[]): void {
    for (const family of families) this.covered.add(family);
  }

  /** @param command the command that prints table nat of this backend */
  addUnreadableNat(backend: Backend, family: Family, command: string): void {
    this.addUnreadable(unreadableTable({ backend, family, name: 'nat' }, command));
  }

  /** Stores a notice. The header after the notice determines the address family. */
  addNotice(notice: UnreadableNotice): void {
    this.notices.push(notice);
  }

  /**
   * @param next the family of the header that follows the notices
   * @param previous the family of the program before that header, if known
   */
  flushNotices(next: Family, previous: Family | undefined): void {
    for (const { name, isPartlyShown } of this.notices.splice(0)) {
      // A table that is shown belongs to the next header. A table that is not shown may belong to either header.
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

  /** @param native the base chains that nft printed; undefined if the dump contains no output of nft */
  allBaseChains(native: readonly BaseChain[] | undefined): BaseChain[] {
    for (const family of [4, 6] as const) if (!this.covered.has(family)) this.addMissingNat(family);
    if (!native)
      return [
        ...[...this.baseChains.values()].flat(),
        ...[...this.partlyUnreadable.values()].flatMap(unreadableBaseChains),
      ];
    // If iptables-nft-save printed only a notice for a table, the output of nft contains that table.
    for (const [key, { backend }] of this.unreadable)
      if (backend === 'iptables-nft') this.baseChains.delete(key);
    const additional = native.filter((baseChain) => !this.isShownByIptables(baseChain));
    return [...[...this.baseChains.values()].flat(), ...additional];
  }

  /** Whether the output of iptables-nft-save also contains the chain, in more detail than the output of nft. */
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
    const key: TableKey = { backend: 'iptables', family, name: 'nat' };
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

/** Returns placeholders for the chains of a table whose rules are not in the dump. */
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
      unreadable: `${description}, which the dump does not contain: add the output of \`${command}\``,
    };
  });
}
