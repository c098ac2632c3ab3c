import { definedOnly } from '../../../../util/collections';
import type { Line } from '../../input';
import type { JsonObject, JsonValue } from '../values';
import { readElements } from './elements';
import { priorityOf } from './priority';
import { readRule, splitHandle, unreadableRule, type RuleContext } from './rule';
import { Cursor, textOf, tokenize, type Token } from './tokens';

export interface NftText {
  /** What `nft -j` prints for the same tables. Parts that cannot be read are statements named `unreadable`. */
  readonly json: JsonValue;
  /** Lines outside chains that cannot be read. */
  readonly unread: readonly Line[];
}

/** Parses the text of `nft list ruleset`, `nft list table` and `nft list chain`, with any of their options. */
export function parseNftText(lines: readonly Line[], { isTerse = false } = {}): NftText {
  const losesMatches = !lines.some(({ text }) => translatesAll.test(text));
  const reader = new RulesetReader(tokenize(lines), { losesMatches, isTerse });
  reader.read();
  return { json: { nftables: reader.objects }, unread: reader.unread };
}

/** nft 1.0.6 and newer name the extensions that they cannot translate, and warn about tables that have them. */
const translatesAll = /\bxt (?:match|target) |is managed by iptables-nft/;

const managedTables: ReadonlySet<string> = new Set(['filter', 'nat', 'mangle', 'raw', 'security']);

interface TableName {
  readonly family: string;
  readonly table: string;
}

class RulesetReader {
  readonly objects: JsonObject[] = [];
  readonly unread: Line[] = [];
  private readonly cursor: Cursor;

  constructor(
    tokens: readonly Token[],
    private readonly options: { readonly losesMatches: boolean; readonly isTerse: boolean },
  ) {
    this.cursor = new Cursor(tokens);
  }

  read(): void {
    while (!this.cursor.isAtEnd) {
      const item = this.readItem();
      if (item.opens && item.tokens[0]?.text === 'table') this.readTable(item.tokens);
      else this.addUnread(item.tokens);
      this.cursor.skip('}');
    }
  }

  private readTable([, family, name]: readonly Token[]): void {
    const table = { family: family?.text ?? 'ip', table: name?.text ?? '' };
    const flags: string[] = [];
    this.readBlock((item) => {
      const [kind, named] = item.tokens;
      if (item.opens && kind?.text === 'chain') this.readChain(table, named?.text ?? '', item.tokens);
      else if (item.opens && (kind?.text === 'set' || kind?.text === 'map'))
        this.readSet(table, kind.text, named?.text ?? '');
      else if (item.opens) this.skipBlock(item.tokens);
      else if (kind?.text === 'flags') flags.push(...valuesOf(item.tokens.slice(1)));
      else if (kind?.text !== 'comment') this.addUnread(item.tokens);
    });
    this.objects.push({
      table: definedOnly({ family: table.family, name: table.table, flags: flagsOf(flags) }),
    });
  }

  private readChain(table: TableName, name: string, head: readonly Token[]): void {
    const { family } = table;
    const isManaged = /^ip6?$/.test(family) && managedTables.has(table.table);
    const context: RuleContext = {
      managedFamily: isManaged ? family : undefined,
      losesMatches: this.options.losesMatches,
      indentation: 2 * (head[0]?.space ?? 0),
    };
    let chain: JsonObject = { family, table: table.table, name };
    const rules: JsonObject[] = [];
    this.readBlock(({ tokens, opens }) => {
      const [first, second] = tokens;
      if (opens) rules.push(unreadableRule(tokens));
      else if (first?.text === 'type' && tokens.some(({ text }) => text === 'hook'))
        chain = { ...chain, ...readBaseChain(tokens, family) };
      else if (first?.text === 'policy') chain = { ...chain, policy: second?.text ?? '' };
      else if (!(first?.text === 'comment' && second?.kind === 'string' && tokens.length === 2))
        rules.push(this.isContinuation(first, head[0]) ? unreadableRule(tokens) : readRule(tokens, context));
    });
    this.objects.push({ chain });
    for (const rule of rules)
      this.objects.push({ rule: { family, table: table.table, chain: name, ...rule } });
  }

  /** Whether a terminal broke the rule before it here: nft indents the rules of a chain more than the chain. */
  private isContinuation(first: Token | undefined, head: Token | undefined): boolean {
    return first?.space === 0 && (head?.space ?? 0) > 0 && first.start === 0;
  }

  private readSet({ family, table }: TableName, kind: string, name: string): void {
    const flags: string[] = [];
    // With `--terse`, nft leaves the elements out.
    let elem: JsonValue[] | undefined = this.options.isTerse ? undefined : [];
    this.readBlock(
      ({ tokens }) => {
        if (tokens[0]?.text === 'flags') flags.push(...valuesOf(tokens.slice(1)));
        // nft does not print the flag if the set has a timeout of its own.
        if (tokens[0]?.text === 'timeout') flags.push('timeout');
      },
      () => {
        elem = readElements(this.cursor);
      },
    );
    // A set with elements that cannot be read is left out, so that its matches are unknown.
    if (elem)
      this.objects.push({ [kind]: definedOnly({ family, table, name, flags: flagsOf(flags), elem }) });
  }

  /** Reads the items of a block, after its opening brace up to its closing brace. */
  private readBlock(onItem: (item: Item) => void, onElements?: () => void): void {
    while (!this.cursor.isAtEnd && !this.cursor.skip('}')) {
      const item = this.readItem();
      const isElements = item.opens && item.tokens[0]?.text === 'elements';
      if (isElements && onElements) onElements();
      else if (item.tokens.length > 0) onItem(item);
    }
  }

  /** Reads up to the end of the line, a semicolon or the brace that opens or closes a block. */
  private readItem(): Item {
    const tokens: Token[] = [];
    let depth = 0;
    for (;;) {
      const token = this.cursor.peek();
      if (!token || (depth === 0 && token.kind === 'sign' && token.text === '}')) break;
      if (depth > 0 && isAfterCut(token)) break;
      this.cursor.next();
      if (token.kind === 'line-end' || (token.kind === 'sign' && token.text === ';')) {
        if (depth === 0) break;
      } else if (token.kind === 'sign' && token.text === '{') {
        if (opensBlock(tokens)) {
          this.skipComment();
          return { tokens: splitHandle(tokens).body, opens: true };
        }
        depth++;
        tokens.push(token);
      } else {
        if (token.kind === 'sign' && token.text === '}') depth--;
        tokens.push(token);
      }
    }
    return { tokens: isComment(tokens) ? [] : tokens, opens: false };
  }

  /** Skips `# handle 5` after an opening brace. */
  private skipComment(): void {
    if (!this.cursor.isNext('#')) return;
    while (this.cursor.peek() && this.cursor.peek()?.kind !== 'line-end') this.cursor.next();
  }

  /** Skips an object that has no effect on where a packet goes: a counter, a quota, a flow table. */
  private skipBlock(head: readonly Token[]): void {
    if (!/^(?:counter|quota|limit|ct|flowtable|secmark|synproxy)$/.test(head[0]?.text ?? ''))
      this.addUnread(head);
    this.readBlock((item) => {
      if (item.opens) this.skipBlock(item.tokens);
    });
  }

  private addUnread(tokens: readonly Token[]): void {
    const [first] = tokens;
    if (first) this.unread.push({ text: textOf(tokens), number: first.line });
  }
}

/** A line of a block, or the head of a block inside it. */
interface Item {
  readonly tokens: readonly Token[];
  readonly opens: boolean;
}

const blockNames = /^(?:chain|set|map|counter|quota|limit|flowtable|secmark|synproxy)$/;

/** Whether a brace after these tokens opens a block, and not a set inside a rule. */
function opensBlock([first, second, third, ...more]: readonly Token[]): boolean {
  if (more.length > 0 || first?.kind !== 'word' || second === undefined) return false;
  if (first.text === 'table') return third !== undefined;
  if (first.text === 'ct') return third !== undefined && /^(?:helper|timeout|expectation)$/.test(second.text);
  return (
    third === undefined && (blockNames.test(first.text) || (first.text === 'elements' && second.text === '='))
  );
}

/**
 * Whether a line starts or ends a block inside the braces of a rule, which shows that the rule was cut: nft prints the
 * last brace of a set after its last element.
 */
const isAfterCut = ({ text, source, start }: Token): boolean =>
  /^(?:table|chain|set|map|\})$/.test(text) && source.slice(0, start).trim() === '';

/** Remarks in a file of rules. A rule may also start with a `#`, before a match that nft does not translate. */
function isComment(tokens: readonly Token[]): boolean {
  const [first] = tokens;
  return (
    first?.text.startsWith('#') === true &&
    !tokens.some(({ text }) => text === 'counter' || /^#?xt_/.test(text))
  );
}

const valuesOf = (tokens: readonly Token[]): string[] =>
  tokens.filter(({ kind }) => kind === 'word').map(({ text }) => text);
const flagsOf = (flags: readonly string[]) => (flags.length === 0 ? undefined : flags);

/** `type nat hook postrouting device "eth0" priority srcnat + 5`. */
function readBaseChain(tokens: readonly Token[], family: string): JsonObject {
  const indexOf = (word: string) => tokens.findIndex(({ kind, text }) => kind === 'word' && text === word);
  const after = (word: string) => tokens[indexOf(word) + 1]?.text ?? '';
  const from = tokens.findIndex(({ text }) => text === 'device' || text === 'devices');
  const devices = from < 0 ? [] : tokens.slice(from + 1, indexOf('priority'));
  const dev = devices.filter(({ kind, text }) => kind !== 'sign' && text !== '=').map(({ text }) => text);
  return definedOnly({
    type: after('type'),
    hook: after('hook'),
    prio: priorityOf(
      family,
      tokens.slice(indexOf('priority') + 1).map(({ text }) => text),
    ),
    dev: dev.length === 0 ? undefined : dev,
    policy: 'accept',
  });
}
