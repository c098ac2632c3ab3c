import { tryParse } from '../../util/functional';
import { DumpError, iptablesCommand, type Backend, type BaseChain, type Family } from '../model';
import type { Snapshot } from '../snapshot';
import { splitBlocks, type Block } from './blocks';
import { checkCallDepth } from './call-depth';
import { tableOption, type Command } from './command';
import { maxFlows, parseFlow, type TrackedFlow } from './conntrack';
import { splitLines, type Line } from './input';
import { IpParser } from './ip';
import { SetParser } from './ipset';
import { savedSets } from './ipset-list';
import { TableParser } from './iptables';
import { parseListing, savedLines } from './listing/listing';
import { parseNftRuleset } from './nft/ruleset';
import { parseNftText } from './nft/text/ruleset';
import type { JsonValue } from './nft/values';
import { findLookalike } from './lookalikes';
import { readRuleLines, type RuleLines } from './rule-lines';
import { parseUnreadableNotice, TableCoverage } from './table-coverage';
import { guessTable } from './table-guess';
import { splitSections, type Section } from './transcript';

/**
 * Parses the output of a node's programs, in any order and with whatever surrounds it in a ticket or a terminal. The
 * text is split into sections (the output of one command line), and those into blocks (the lines of one form). A
 * section's command names the program. Without one, the header of the output names it; without a header, iptables-nft
 * is assumed.
 * @throws DumpError and no other error
 */
export function parseSnapshot(text: string): Snapshot {
  const lines = splitLines(text);
  const builder = new SnapshotBuilder();
  for (const section of splitSections(lines)) builder.addSection(section);
  return builder.finish(lines);
}

/** The program that printed the following lines. */
interface Program {
  readonly backend: Backend;
  readonly family: Family | undefined;
}

/** A table of iptables, and the line where it starts. */
interface TableHead {
  readonly name: string;
  readonly line: number;
  readonly family: Family;
}

class SnapshotBuilder {
  private readonly coverage = new TableCoverage();
  /** Undefined if the dump contains no output of nft yet. */
  private native: BaseChain[] | undefined;
  private readonly backends = new Set<Backend>();
  private readonly sets = new SetParser();
  private readonly changingSets = new Set<string>();
  private readonly ip = new IpParser();
  private readonly flows: TrackedFlow[] = [];
  private readonly warnings: string[] = [];
  private readonly unrecognized: Line[] = [];
  private program: Program = { backend: 'iptables-nft', family: undefined };
  /** Whether the dump contains `# peermasq:` lines, which are more reliable than headers. */
  private hasMarkers = false;

  addSection({ commands, lines }: Section): void {
    for (const command of commands) this.startCommand(command);
    this.ip.start(commands);
    for (const block of splitBlocks(lines)) this.addBlock(block, commands);
  }

  finish(lines: readonly Line[]): Snapshot {
    this.flushNotices();
    if (this.backends.size === 0) this.rejectInput(lines);
    for (const { number, text } of this.unrecognized.slice(0, maxWarnedLines))
      this.warnings.push(`Line ${number} was passed over: ${text.trim()}`);
    return {
      baseChains: this.coverage.allBaseChains(this.native),
      backends: this.backends,
      sets: this.sets.sets(),
      changingSets: this.changingSets,
      ...this.ip.finish(),
      flows: this.flows,
      warnings: this.warnings,
      missing: [],
    };
  }

  private rejectInput(lines: readonly Line[]): never {
    const expected = 'rules of iptables or nft';
    const lookalike = findLookalike(lines);
    if (lookalike) {
      const { line, description } = lookalike;
      throw new DumpError({ line: line.number, found: line.text.trim(), expected, looksLike: description });
    }
    const [first] = this.unrecognized;
    const found =
      first?.text.trim() ?? (lines.some(({ text }) => text !== '') ? 'no rules' : 'an empty file');
    throw new DumpError({ line: first?.number ?? lines.length, found, expected });
  }

  private startCommand(command: Command): void {
    const { program, family, backend, isMarker } = command;
    if (isMarker) this.startMarked(command);
    else if (program.includes('tables') && !this.hasMarkers) {
      this.flushNotices(family);
      this.program = { backend: backend ?? 'iptables-nft', family };
    } else if (program === 'ip') this.program = { ...this.program, family };
  }

  private startMarked({ program, family, backend, hasFailed }: Command): void {
    this.flushNotices();
    this.hasMarkers = true;
    this.program = { backend: backend ?? 'iptables-nft', family: family ?? 4 };
    if (backend !== undefined && family !== undefined) {
      this.backends.add(backend);
      if (hasFailed)
        this.coverage.addUnreadableNat(backend, family, `${iptablesCommand(family, backend)}-save`);
      else this.coverage.cover(family);
    } else if (program === 'nft' && hasFailed) {
      for (const each of [4, 6] as const) this.coverage.addUnreadableNat('nft', each, 'nft -j list ruleset');
    }
  }

  private flushNotices(next?: Family): void {
    const { family } = this.program;
    this.coverage.flushNotices(next ?? family ?? 4, family);
  }

  private addBlock(block: Block, commands: readonly Command[]): void {
    const [head] = block.lines;
    switch (block.kind) {
      case 'comment':
        this.addComment(head);
        break;
      case 'table':
        this.addTable(block);
        break;
      case 'rules':
        this.addRules(block, commands);
        break;
      case 'listing':
        this.addListing(block, commands);
        break;
      case 'nft-json':
        this.addNftJson(block);
        break;
      case 'nft-text':
        this.addNftText(block);
        break;
      case 'set-save':
        for (const { text, number } of block.lines) this.sets.line(text, number);
        break;
      case 'addresses':
      case 'routes':
      case 'routing-rules':
        this.unrecognized.push(...block.lines.filter((line) => !this.ip.line(line)));
        break;
      case 'flows':
        this.addFlows(block);
        break;
      case 'set-list':
        for (const { text, number } of savedSets(block.lines)) this.sets.line(text, number);
        break;
      case 'other':
        this.unrecognized.push(...block.lines);
    }
  }

  private addFlows({ lines }: Block): void {
    for (const { text } of lines.slice(0, maxFlows - this.flows.length)) {
      const flow = parseFlow(text.trim());
      if (flow) this.flows.push(flow);
    }
  }

  private addComment({ text }: Line): void {
    const comment = text.trim();
    const [, header, nftSuffix] =
      /^# Generated by (ip6?tables)\S*-save v\S+( \(nf_tables\))?/.exec(comment) ?? [];
    const notice = parseUnreadableNotice(comment);
    if (header !== undefined && !this.hasMarkers) {
      const family = header === 'ip6tables' ? 6 : 4;
      this.flushNotices(family);
      this.program = { backend: nftSuffix === undefined ? 'iptables-legacy' : 'iptables-nft', family };
    } else if (notice) {
      this.backends.add('iptables-nft');
      this.coverage.addNotice(notice);
      if (this.hasMarkers) this.flushNotices();
    } else if (comment.startsWith('# Warning: iptables-legacy tables present')) {
      const family = this.program.family ?? 4;
      this.coverage.addUnreadableNat('iptables-legacy', family, `${iptablesCommand(family)}-legacy-save`);
    }
  }

  private addTable({ lines: [head, ...lines] }: Block): void {
    const isComplete = lines.at(-1)?.text.trim() === 'COMMIT';
    const name = head.text.trim().slice(1);
    if (!isComplete)
      this.warnings.push(
        `Table ${name} in line ${head.number} has no COMMIT: its last rules may be missing.`,
      );
    const rules = readRuleLines(isComplete ? lines.slice(0, -1) : lines, { isTable: true });
    this.addIptables(name, head, rules);
  }

  /** Adds rules without the table that contains them: the output of `iptables -S`, or some lines of iptables-save. */
  private addRules({ lines }: Block, commands: readonly Command[]): void {
    const [head] = lines;
    const rules = readRuleLines(lines, { isTable: false });
    this.unrecognized.push(...rules.prose);
    this.addIptables(this.tableNameOf(rules.lines, head, commands), head, rules);
  }

  /** Adds the output of `iptables -L`. */
  private addListing({ lines }: Block, commands: readonly Command[]): void {
    const { tables, family } = parseListing(lines);
    for (const chains of tables) {
      const { line } = chains[0];
      const name = this.tableNameOf(savedLines(chains), { number: line }, commands);
      this.addChains({ name, line, family: this.program.family ?? family ?? 4 }, (parser) => {
        for (const chain of chains) parser.listedChain(chain);
      });
    }
  }

  private tableNameOf(
    lines: readonly Line[],
    { number }: Pick<Line, 'number'>,
    commands: readonly Command[],
  ): string {
    const named = commands.find(({ program }) => program.includes('tables'));
    const table = named && (tableOption(named) ?? (named.args.length > 0 ? 'filter' : undefined));
    if (table !== undefined) return table;
    const guess = guessTable(lines);
    this.warnings.push(`The rules in line ${number} name no table: table ${guess} is assumed.`);
    return guess;
  }

  private addIptables(name: string, head: Line, { lines, joined, isCut }: RuleLines): void {
    for (const number of joined.slice(0, maxWarnedLines))
      this.warnings.push(`The rule in line ${number} was broken, and was joined with what follows it.`);
    if (isCut)
      this.warnings.push(`Table ${name} in line ${head.number} is cut: some of its rules are missing.`);
    const family = this.program.family ?? (lines.some(({ text }) => hasIpv6Option.test(text)) ? 6 : 4);
    this.addChains({ name, line: head.number, family }, (parser) => {
      for (const { text, number } of lines) parser.line(text, number);
    });
  }

  private addChains({ name, line, family }: TableHead, parse: (parser: TableParser) => void): void {
    const { backend } = this.program;
    const parser = new TableParser(name, backend, [family]);
    parse(parser);
    parser.finish();
    checkCallDepth(parser.table, line);
    this.backends.add(backend);
    for (const set of parser.changingSets) this.changingSets.add(set);
    this.coverage.add({ backend, family, name }, parser.baseChains());
  }

  private addNftJson({ lines }: Block): void {
    const [head] = lines;
    const texts = lines.map(({ text }) => text);
    // A terminal or a chat may have broken the single line that nft prints.
    const json =
      tryParse(() => JSON.parse(texts.join('\n')) as JsonValue) ??
      tryParse(() => JSON.parse(texts.join('')) as JsonValue);
    if (json === undefined) {
      const expected = 'the complete JSON of nft -j list ruleset';
      throw new DumpError({ line: head.number, found: texts.join('\n').slice(-80), expected });
    }
    this.addNftRuleset(json, head);
  }

  private addNftText({ lines }: Block): void {
    const { json, unread } = parseNftText(lines);
    this.unrecognized.push(...unread);
    this.addNftRuleset(json, lines[0]);
  }

  private addNftRuleset(json: JsonValue, head: Line): void {
    const baseChains = parseNftRuleset(json, head.number);
    for (const table of new Set(baseChains.map((baseChain) => baseChain.table)))
      checkCallDepth(table, head.number);
    this.native = [...(this.native ?? []), ...baseChains];
    this.backends.add('nft');
    this.coverage.cover(4, 6);
  }
}

const maxWarnedLines = 5;

const hasIpv6Option = / -[sd] [^ ]*:| -p (ipv6-icmp|icmpv6)/;
