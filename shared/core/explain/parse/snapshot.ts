import { tryParse } from '../../util/functional';
import { DumpError } from '../model';
import type { Snapshot } from '../snapshot';
import { splitBlocks, type Block } from './blocks';
import { checkCallDepth } from './call-depth';
import { listWholeTable, tableOption, type Command } from './command';
import { maxFlows, parseFlow, type TrackedFlow } from './conntrack';
import { splitLines, type Line } from './input';
import { IpParser } from './ip';
import { SetParser } from './ipset';
import { savedSets } from './ipset-list';
import type { TableParser } from './iptables';
import { parseListing, savedLines } from './listing/listing';
import { parseNftRuleset } from './nft/ruleset';
import { parseNftText } from './nft/text/ruleset';
import type { JsonValue } from './nft/values';
import { findLookalike } from './lookalikes';
import { RuleCollector, type NewTable } from './rule-collector';
import { readRuleLines, type RuleLines } from './rule-lines';
import { guessTable } from './table-guess';
import { splitSections, type Section } from './transcript';

/**
 * Parses the output of a node's programs, in any order and with whatever surrounds it in a ticket or a terminal. The
 * text is split into sections (the output of one command line), and those into blocks (the lines of one form). A
 * section's command names the program. Without one, the header of the output may name it, and otherwise the backend stays
 * unknown.
 * @throws DumpError and no other error
 */
export function parseSnapshot(text: string): Snapshot {
  const lines = splitLines(text);
  const builder = new SnapshotBuilder();
  for (const section of splitSections(lines)) builder.addSection(section);
  return builder.finish(lines);
}

class SnapshotBuilder {
  private readonly rules = new RuleCollector();
  private readonly sets = new SetParser();
  private areSetsCut = false;
  private readonly ip = new IpParser();
  private readonly flows: TrackedFlow[] = [];
  private readonly warnings: string[] = [];
  private readonly unrecognized: Line[] = [];

  addSection({ commands, lines }: Section): void {
    this.rules.startOutput(commands);
    this.ip.start(commands);
    if (commands.some(({ program, isFiltered }) => program === 'ipset' && isFiltered)) this.areSetsCut = true;
    for (const block of splitBlocks(lines)) this.addBlock(block, commands);
  }

  finish(lines: readonly Line[]): Snapshot {
    if (this.rules.isEmpty) this.rejectInput(lines);
    const { warnings, ...rules } = this.rules.finish();
    const { missing, ...ip } = this.ip.finish();
    for (const { number, text } of this.unrecognized.slice(0, maxWarnedLines))
      this.warnings.push(`Line ${number} was passed over: ${text.trim()}`);
    return {
      ...rules,
      sets: this.sets.sets(),
      ...ip,
      flows: this.flows,
      missing: this.rules.isUncountedSnapshot
        ? []
        : [...rules.missing, ...missing, ...(this.areSetsCut ? missingSets : [])],
      warnings: [...warnings, ...this.warnings],
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

  private addBlock(block: Block, commands: readonly Command[]): void {
    const [head] = block.lines;
    switch (block.kind) {
      case 'comment':
        this.rules.comment(head.text.trim());
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
        this.addNftText(block, commands);
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

  private addTable({ lines: [head, ...lines] }: Block): void {
    const isComplete = lines.at(-1)?.text.trim() === 'COMMIT';
    const name = head.text.trim().slice(1);
    if (!isComplete)
      this.warnings.push(
        `Table ${name} in line ${head.number} has no COMMIT: its last rules may be missing.`,
      );
    const rules = readRuleLines(isComplete ? lines.slice(0, -1) : lines, { isTable: true });
    this.addIptables({ name, line: head.number, isFragment: !isComplete }, rules);
  }

  /** Adds rules without the table that contains them: the output of `iptables -S`, or some lines of iptables-save. */
  private addRules({ lines }: Block, commands: readonly Command[]): void {
    const [head] = lines;
    const rules = readRuleLines(lines, { isTable: false });
    this.unrecognized.push(...rules.prose);
    const name = this.tableNameOf(rules.lines, head, commands);
    this.addIptables({ name, line: head.number, isFragment: !listWholeTable(commands) }, rules);
  }

  /** Adds the output of `iptables -L`. */
  private addListing({ lines }: Block, commands: readonly Command[]): void {
    const { tables, family } = parseListing(lines, this.rules.family);
    for (const chains of tables) {
      const { line } = chains[0];
      const name = this.tableNameOf(savedLines(chains), { number: line }, commands);
      this.rules.addTable({
        name,
        line,
        family: family ?? 4,
        lines: savedLines(chains),
        isFragment: !listWholeTable(commands),
        feed: (parser) => {
          for (const chain of chains) parser.listedChain(chain);
        },
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

  private addIptables(
    { name, line, isFragment }: Pick<NewTable, 'name' | 'line' | 'isFragment'>,
    { lines, joined, isCut }: RuleLines,
  ): void {
    for (const number of joined.slice(0, maxWarnedLines))
      this.warnings.push(`The rule in line ${number} was broken, and was joined with what follows it.`);
    if (isCut) this.warnings.push(`Table ${name} in line ${line} is cut: some of its rules are missing.`);
    const family = this.rules.family ?? (lines.some(({ text }) => hasIpv6Option.test(text)) ? 6 : 4);
    const feed = (parser: TableParser) => {
      for (const { text, number } of lines) parser.line(text, number);
    };
    this.rules.addTable({ name, line, family, lines, isFragment: isFragment || isCut, feed });
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
    this.addNftRuleset(json, { head, isCut: false });
  }

  private addNftText({ lines }: Block, commands: readonly Command[]): void {
    const isTerse = commands.some(
      ({ program, args }) => program === 'nft' && args.some((arg) => terse.test(arg)),
    );
    const { json, unread } = parseNftText(lines, { isTerse });
    this.unrecognized.push(...unread);
    this.addNftRuleset(json, { head: lines[0], isCut: unread.length > 0 });
  }

  private addNftRuleset(
    json: JsonValue,
    { head, isCut }: { readonly head: Line; readonly isCut: boolean },
  ): void {
    const baseChains = parseNftRuleset(json, head.number);
    for (const table of new Set(baseChains.map((baseChain) => baseChain.table)))
      checkCallDepth(table, head.number);
    this.rules.addNft(baseChains, { isCut });
  }
}

const missingSets = ([4, 6] as const).map((family) => ({ kind: 'sets', family }) as const);

/** `-t` or `--terse`, also among other letters: `-nt`. */
const terse = /^(?:-[a-zA-Z]*t[a-zA-Z]*|--terse)$/;

const maxWarnedLines = 5;

const hasIpv6Option = / -[sd] [^ ]*:| -p (ipv6-icmp|icmpv6)/;
