import {
  DumpError,
  unknownMatch,
  type Backend,
  type BaseChain,
  type Chain,
  type Family,
  type Hook,
  type Rule,
  type RuleMatch,
  type RuleTarget,
  type Table,
} from '../model';
import { generalOptions, matchModules, optionAliases, type OptionParser } from './iptables-options';
import { parseTarget } from './iptables-targets';

const hooks: Readonly<Record<string, Hook>> = {
  PREROUTING: 'prerouting',
  FORWARD: 'forward',
  OUTPUT: 'output',
  POSTROUTING: 'postrouting',
};

/** The kernel's enum nf_ip_hook_priorities, without nat. */
const priorities: Readonly<Record<string, number>> = { raw: -300, mangle: -150, filter: 0, security: 50 };

export function priorityOf(table: string, hook: Hook): number {
  if (table === 'nat') return hook === 'postrouting' ? 100 : -100;
  return priorities[table] ?? 0;
}

const counters = /^\[\d+:\d+\] */;

/**
 * Parses one table in the output of iptables-save, from the line after `*table` up to the line before `COMMIT`, or the
 * output of `iptables -S`. Lines may be missing: a chain that is only called gets a rule that stands for its rules.
 */
export class TableParser {
  readonly table: Table;
  readonly changingSets = new Set<string>();
  private readonly policies = new Map<string, 'accept' | 'drop'>();
  private readonly rules: PendingRule[] = [];
  /** Rules that stand for what the dump does not show, by chain. */
  private readonly placeholders = new Map<string, Rule>();

  constructor(
    private readonly name: string,
    backend: Backend,
    families: readonly Family[],
  ) {
    this.table = { backend, name, families, chains: new Map() };
  }

  /** @param text `:CHAIN POLICY [0:0]`, `-P CHAIN POLICY`, `-N CHAIN`, or `-A CHAIN …` with optional counters */
  line(text: string, lineNumber: number): void {
    if (text.startsWith('#')) return;
    if (/^(?::|-P |-N )/.test(text)) this.declareChain(text, lineNumber);
    else this.rules.push({ ...this.parseRule(text, lineNumber), lineNumber });
  }

  /** Resolves the targets of the rules, because a chain may be declared after a rule that jumps to it. */
  finish(): void {
    for (const { chain } of this.rules) this.chainOf(chain);
    for (const { chain, text, matches, target, lineNumber } of this.rules) {
      const { rules } = this.chainOf(chain);
      const targets = this.parseTargets(target) ?? this.failTarget(text, lineNumber);
      rules.push({ number: rules.length + 1, text, matches, targets });
    }
    for (const [chain, rule] of this.placeholders) this.chainOf(chain).rules.push(rule);
  }

  baseChains(): BaseChain[] {
    return [...this.policies].flatMap(([name, policy]) => {
      const hook = hooks[name];
      const chain = this.table.chains.get(name);
      if (!hook || !chain) return [];
      const priority = priorityOf(this.name, hook);
      return [{ table: this.table, chain, hook, isNat: this.name === 'nat', priority, policy }];
    });
  }

  private parseRule(text: string, lineNumber: number): Omit<PendingRule, 'lineNumber'> {
    const ruleText = text.replace(counters, '');
    const [option, chain, ...tokens] = tokenize(ruleText, lineNumber);
    if (option !== '-A' || chain === undefined)
      throw new DumpError({
        line: lineNumber,
        found: text,
        expected: `":CHAIN", "-A CHAIN" or "COMMIT" in table ${this.name}`,
      });
    if (tokens.includes('SET')) for (const token of tokens) this.changingSets.add(token);
    return { chain, text: ruleText, ...parseRuleTokens(tokens) };
  }

  private parseTargets([option, name, ...options]: readonly string[]): RuleTarget[] | undefined {
    if (name === undefined) return [];
    const kind = option === '-g' ? 'goto' : 'jump';
    if (this.table.chains.has(name)) return [{ kind, chain: name }];
    const target = kind === 'goto' ? undefined : parseTarget(name, options);
    if (target || options.length > 0) return target;
    this.addPlaceholder(name, `chain ${name}`);
    return [{ kind, chain: name }];
  }

  private failTarget(text: string, lineNumber: number): never {
    throw new DumpError({ line: lineNumber, found: text, expected: 'a target after -j' });
  }

  /** Returns the chain, and adds it if the lines that declare it are missing. */
  private chainOf(name: string): Chain {
    const known = this.table.chains.get(name);
    if (known) return known;
    const chain: Chain = { name, rules: [] };
    this.table.chains.set(name, chain);
    if (Object.hasOwn(hooks, name) && !this.policies.has(name)) {
      this.policies.set(name, 'accept');
      if (this.name !== 'nat') this.addPlaceholder(name, `policy of chain ${name}`);
    }
    return chain;
  }

  private addPlaceholder(chain: string, what: string): void {
    if (this.placeholders.has(chain)) return;
    this.placeholders.set(chain, {
      number: 0,
      text: `(${what})`,
      matches: [unknownMatch(what, 'not in the dump')],
      targets: [{ kind: 'unknown' }],
    });
    this.chainOf(chain);
  }

  private declareChain(text: string, lineNumber: number): void {
    const [, name, policy = '-'] =
      /^(?::|-P |-N )(\S+)(?: (ACCEPT|DROP|-)(?: \[\d+:\d+\]| -c \d+ \d+)?)?\s*$/.exec(text) ?? [];
    if (name === undefined)
      throw new DumpError({
        line: lineNumber,
        found: text,
        expected: '":CHAIN POLICY [0:0]" with policy ACCEPT, DROP or -',
      });
    this.table.chains.set(name, { name, rules: [] });
    if (policy !== '-') this.policies.set(name, policy === 'DROP' ? 'drop' : 'accept');
  }
}

interface PendingRule {
  readonly chain: string;
  readonly text: string;
  readonly matches: readonly RuleMatch[];
  /** The tokens starting with `-j` or `-g`. */
  readonly target: readonly string[];
  readonly lineNumber: number;
}

/**
 * Splits a line into tokens with the quoting rules of iptables: `"` starts and ends a quoted string, and `\` escapes
 * one character inside it.
 */
function tokenize(text: string, lineNumber: number): string[] {
  if (!text.includes('"')) return text.split(/[ \t]+/).filter((token) => token !== '');
  const tokens: string[] = [];
  let token: string | undefined;
  let isQuoted = false;
  for (let index = 0; index < text.length; index++) {
    const character = text.charAt(index);
    if (character === '"') {
      isQuoted = !isQuoted;
      token ??= '';
    } else if (isQuoted && character === '\\') {
      token = (token ?? '') + text.charAt(++index);
    } else if (!isQuoted && (character === ' ' || character === '\t')) {
      if (token !== undefined) tokens.push(token);
      token = undefined;
    } else {
      token = (token ?? '') + character;
    }
  }
  if (isQuoted) throw new DumpError({ line: lineNumber, found: text, expected: 'a closing "' });
  if (token !== undefined) tokens.push(token);
  return tokens;
}

/** A match module (`-m NAME`) with its options. The module matches if all of its options match. */
interface MatchModule {
  readonly name: string;
  readonly tokens: string[];
}

interface ParsedRule {
  readonly matches: readonly RuleMatch[];
  /** The tokens starting with `-j` or `-g`. */
  readonly target: readonly string[];
}

function parseRuleTokens(tokens: readonly string[]): ParsedRule {
  const general: RuleMatch[] = [];
  const modules: MatchModule[] = [];
  const finish = (target: readonly string[]) => ({
    matches: [...general, ...modules.flatMap(parseModule)],
    target,
  });
  let protocol = '';
  let index = 0;
  while (index < tokens.length) {
    const { isNegated, name, start } = readOption(tokens, index);
    const option = optionAliases[name] ?? name;
    const parser = ownEntry(generalOptions, option);
    if (option === '-j' || option === '-g') return finish([option, ...tokens.slice(start)]);
    if (option === '-m') {
      modules.push({ name: tokens[start] ?? '', tokens: [] });
      index = start + 1;
    } else if (parser) {
      // Old iptables versions print `-d ! 10.0.0.0/8`.
      const isLegacyNegation = tokens[start] === '!';
      const valueStart = isLegacyNegation ? start + 1 : start;
      index = valueStart + parser.valueCount;
      const values = tokens.slice(valueStart, index);
      if (option === '-p') protocol = values[0] ?? '';
      general.push(buildMatch(parser, { name: option, values, isNegated: isNegated || isLegacyNegation }));
    } else {
      // When users write `-p tcp --dport 80`, iptables loads the protocol's module implicitly.
      const module = modules.at(-1) ?? { name: protocol, tokens: [] };
      if (modules.length === 0) modules.push(module);
      const end = start + (moduleOption(module.name, name)?.valueCount ?? 0);
      module.tokens.push(...tokens.slice(index, end));
      index = end;
    }
  }
  return finish([]);
}

interface OptionToken {
  readonly isNegated: boolean;
  readonly name: string;
  /** The index of the option's first value. */
  readonly start: number;
}

function readOption(tokens: readonly string[], index: number): OptionToken {
  const isNegated = tokens[index] === '!';
  const nameIndex = isNegated ? index + 1 : index;
  return { isNegated, name: tokens[nameIndex] ?? '', start: nameIndex + 1 };
}

const ownEntry = <T>(record: Readonly<Record<string, T>>, key: string): T | undefined =>
  Object.hasOwn(record, key) ? record[key] : undefined;

const moduleOption = (module: string, option: string): OptionParser | undefined =>
  ownEntry(ownEntry(matchModules, module) ?? {}, option);

function parseModule({ name: module, tokens }: MatchModule): RuleMatch[] {
  const unsupported = unknownMatch(['-m', module, ...tokens].join(' '), 'unsupported match');
  const matches: RuleMatch[] = [];
  let index = 0;
  while (index < tokens.length) {
    const { isNegated, name, start } = readOption(tokens, index);
    const parser = moduleOption(module, name);
    if (!parser) return [unsupported];
    index = start + parser.valueCount;
    matches.push(
      buildMatch(parser, { name, values: tokens.slice(start, index), moduleTokens: tokens, isNegated }),
    );
  }
  return matches.length === 0 && !Object.hasOwn(matchModules, module) ? [unsupported] : matches;
}

interface MatchOption {
  readonly name: string;
  readonly values: readonly string[];
  readonly moduleTokens?: readonly string[];
  readonly isNegated: boolean;
}

function buildMatch(
  parser: OptionParser,
  { name, values, moduleTokens = [], isNegated }: MatchOption,
): RuleMatch {
  const option = [name, ...values].join(' ');
  const text = isNegated ? `! ${option}` : option;
  const condition = parser.parse(values, moduleTokens);
  return condition ? { ...condition, isNegated, text } : { ...unknownMatch(text, undecidable), isNegated };
}

const undecidable = 'cannot be decided from a dump';
