import { iptablesCommand, type Backend, type BaseChain, type Family, type Rule } from '../model';
import type { MissingPart } from '../snapshot';
import { checkCallDepth } from './call-depth';
import { isCounted, isTablesProgram, showsAllTables, showsNftRuleset, type Command } from './command';
import { parseHeader, unnamedProgram, type IptablesProgram, type Variant } from './header';
import { TableParser } from './iptables';
import { findLostMatches } from './lost-matches';
import { missingTables } from './missing-parts';
import { parseUnreadableNotice, TableCoverage } from './table-coverage';
import { assignBackends, backendOf, type TableText } from './table-text';

/** The rules of all backends, and what the dump does not show of them. */
export interface CollectedRules {
  readonly baseChains: readonly BaseChain[];
  readonly backends: ReadonlySet<Backend>;
  readonly changingSets: ReadonlySet<string>;
  readonly missing: readonly MissingPart[];
  readonly warnings: readonly string[];
}

/** A program of iptables, and what its command shows about its output. */
interface Program extends IptablesProgram {
  /** Whether the output contains every table of the backend. */
  readonly showsAllTables: boolean;
  /** Whether lines of the output are missing. */
  readonly isCut: boolean;
}

export type NewTable = Omit<TableText, 'program' | 'showsAllTables'>;

const families: readonly Family[] = [4, 6];
const nftCommand = 'nft -j list ruleset';

/** Collects the tables of iptables and of nft in a dump, together with what it shows about the programs. */
export class RuleCollector {
  private readonly coverage = new TableCoverage();
  private readonly texts: TableText[] = [];
  /** Undefined if the dump contains no output of nft. */
  private native: BaseChain[] | undefined;
  private readonly backends = new Set<Backend>();
  private readonly complete: Readonly<Record<Family, Set<Variant | 'native'>>> = {
    4: new Set(),
    6: new Set(),
  };
  private program: Program = { ...unnamedProgram, showsAllTables: false, isCut: false };
  /** Lines `# peermasq: COMMAND` are more reliable than headers. With counts, they show whether lines are missing. */
  private markers: 'none' | 'uncounted' | 'counted' = 'none';
  private isNftRuleset = false;
  /** Families for which iptables warns about tables of iptables-legacy. */
  private readonly warnedFamilies = new Set<Family>();

  get isEmpty(): boolean {
    return this.backends.size === 0 && this.texts.length === 0;
  }

  get family(): Family | undefined {
    return this.program.family;
  }

  /**
   * Whether the dump names its commands without counts of lines, as `collect` and the node program print it. They leave
   * out what the node does not have, so a section that someone cut from the dump cannot be noticed.
   */
  get isUncountedSnapshot(): boolean {
    return this.markers === 'uncounted';
  }

  /** Starts the output of the commands of one line. */
  startOutput(commands: readonly Command[]): void {
    const [first] = commands;
    if (first?.isMarker === true) this.startMarked(first);
    else if (this.markers === 'none') this.startUnmarked(commands);
  }

  private startUnmarked(commands: readonly Command[]): void {
    const [tables, ...others] = commands.filter(isTablesProgram);
    this.isNftRuleset = commands.some(showsNftRuleset);
    if (!tables) return;
    const { family, variant } = tables;
    this.flushNotices(family);
    // Of several programs only the headers show which one printed a table.
    const named = others.length > 0 ? unnamedProgram : { ...unnamedProgram, family, variant };
    this.program = { ...named, showsAllTables: commands.every(showsAllTables), isCut: tables.isFiltered };
    this.completeBackend();
  }

  private startMarked(command: Command): void {
    const { family, variant, isFiltered: isCut } = command;
    this.flushNotices();
    if (this.markers === 'none') this.markers = 'uncounted';
    if (isCounted(command)) this.markers = 'counted';
    this.program = { ...unnamedProgram, family: family ?? 4, variant, showsAllTables: !isCut, isCut };
    this.isNftRuleset = showsNftRuleset(command) && !isCut;
    if (variant !== undefined && family !== undefined) this.startMarkedTables(command, { family, variant });
    else if (showsNftRuleset(command)) this.startMarkedNft(command);
  }

  private startMarkedTables(
    { status }: Command,
    { family, variant }: { family: Family; variant: Variant },
  ): void {
    const backend = `iptables-${variant}` as const;
    this.backends.add(backend);
    if (status === 'failed')
      this.coverage.addUnreadableNat(backend, family, `${iptablesCommand(family, backend)}-save`);
    else this.completeBackend();
  }

  private startMarkedNft({ status }: Command): void {
    for (const family of families) {
      if (status === 'failed') this.coverage.addUnreadableNat('nft', family, nftCommand);
      else if (status === 'absent') this.complete[family].add('native');
    }
  }

  /** Records that the output of the program shows all of its backend, if the backend is known. */
  private completeBackend(): void {
    const { family, variant, showsAllTables: isComplete } = this.program;
    if (!isComplete || family === undefined || variant === undefined) return;
    this.complete[family].add(variant);
    this.coverage.cover(family);
  }

  flushNotices(next?: Family): void {
    const { family } = this.program;
    this.coverage.flushNotices(next ?? family ?? 4, family);
  }

  comment(text: string): void {
    const header = parseHeader(text);
    const notice = parseUnreadableNotice(text);
    if (header) this.addHeader(header);
    else if (notice) {
      this.backends.add('iptables-nft');
      this.coverage.addNotice(notice);
      if (this.markers !== 'none') this.flushNotices();
    } else if (text.startsWith('# Warning: iptables-legacy tables present')) {
      const family = this.program.family ?? 4;
      this.warnedFamilies.add(family);
      this.coverage.addUnreadableNat('iptables-legacy', family, `${iptablesCommand(family)}-legacy-save`);
    }
  }

  private addHeader(header: IptablesProgram): void {
    const { variant, family } = this.program;
    if (this.markers !== 'none') {
      this.program = { ...this.program, ...header, variant: variant ?? header.variant, family };
      return;
    }
    this.flushNotices(header.family);
    this.program = { ...this.program, ...header };
    this.completeBackend();
  }

  addTable(table: NewTable): void {
    const { program } = this;
    const isFragment = table.isFragment || program.isCut;
    this.texts.push({ ...table, program, isFragment, showsAllTables: program.showsAllTables });
  }

  /** @param baseChains the base chains of one output of nft, or of the parts of it that can be read */
  addNft(baseChains: readonly BaseChain[], { isCut }: { readonly isCut: boolean }): void {
    this.native = [...(this.native ?? []), ...baseChains];
    this.backends.add('nft');
    this.coverage.cover(...families);
    // `nft list table` prints a table as `nft list ruleset` does on a node that has only this table.
    const tables = new Set(baseChains.map(({ table }) => table));
    if (!isCut && (this.isNftRuleset || tables.size !== 1))
      for (const family of families) this.complete[family].add('native').add('nft');
  }

  finish(): CollectedRules {
    this.flushNotices();
    const ruleset = this.complete[4].has('native') ? this.native : undefined;
    const tables = markFragments(assignBackends(this.namedTexts(), ruleset).map(parseTable));
    for (const { text, baseChains } of tables) {
      const { family, name, program } = text;
      const backend = program.variant === undefined ? 'iptables' : (`iptables-${program.variant}` as const);
      this.backends.add(backendOf(program));
      this.coverage.add({ backend, family, name }, baseChains);
    }
    return {
      baseChains: this.coverage.allBaseChains(this.native),
      backends: this.backends,
      changingSets: new Set(tables.flatMap(({ changingSets }) => [...changingSets])),
      missing: this.missingParts(tables.map(({ text }) => text)),
      warnings: tables.flatMap(({ text, lost }) => lost.slice(0, 1).map((rule) => describeLost(text, rule))),
    };
  }

  /** Only iptables-nft warns about tables of iptables-legacy. */
  private namedTexts(): TableText[] {
    return this.texts.map((text) => {
      const isNft = text.program.variant === undefined && this.warnedFamilies.has(text.family);
      return isNft ? { ...text, program: { ...text.program, variant: 'nft' } } : text;
    });
  }

  private missingParts(tables: readonly TableText[]): MissingPart[] {
    return families.flatMap((family) => missingTables({ family, tables, complete: this.complete[family] }));
  }
}

interface ParsedTable {
  readonly text: TableText;
  readonly baseChains: readonly BaseChain[];
  readonly changingSets: ReadonlySet<string>;
  /** The rules that were printed without some of their matches. */
  readonly lost: readonly Rule[];
}

function parseTable(text: TableText): ParsedTable {
  const { program, family, name, line, feed } = text;
  const parser = new TableParser(name, backendOf(program), [family]);
  feed(parser);
  parser.finish();
  checkCallDepth(parser.table, line);
  const lost = program.mayOmitMatches ? findLostMatches(parser.table) : [];
  return { text, baseChains: parser.baseChains(), changingSets: parser.changingSets, lost };
}

/** Where one rule has lost a match, any other rule in the tables of that backend may have lost one. */
function markFragments(tables: readonly ParsedTable[]): ParsedTable[] {
  const keyOf = ({ text: { family, program } }: ParsedTable) => `${family} ${program.variant ?? ''}`;
  const damaged = new Set(tables.filter(({ lost }) => lost.length > 0).map(keyOf));
  return tables.map((parsed) => {
    const isFragment = parsed.text.isFragment || damaged.has(keyOf(parsed));
    if (!isFragment) return parsed;
    const [first] = parsed.baseChains;
    const table = first && { ...first.table, isFragment };
    const baseChains = table ? parsed.baseChains.map((baseChain) => ({ ...baseChain, table })) : [];
    return { ...parsed, text: { ...parsed.text, isFragment }, baseChains };
  });
}

const describeLost = ({ name, line }: TableText, rule: Rule): string =>
  `Table ${name} in line ${line} was printed by an iptables that is older than the one that wrote it. Matches are missing from its rules, as from ${rule.text}. Use the newer iptables-save, or \`${nftCommand}\`.`;
