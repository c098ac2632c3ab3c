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
import { priorityOf } from '../tables';
import {
  counters,
  cutTarget,
  parseChainLine,
  parseRuleText,
  parseRuleTokens,
  tokenize,
} from './iptables-rule';
import { parseTarget } from './iptables-targets';
import type { ListedChain } from './listing/listing';

const hooks: Readonly<Record<string, Hook>> = {
  PREROUTING: 'prerouting',
  FORWARD: 'forward',
  OUTPUT: 'output',
  POSTROUTING: 'postrouting',
};

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

  /** Adds a chain of `iptables -L`. */
  listedChain({ name, policy, rules }: ListedChain): void {
    this.addChain(name, policy);
    for (const { line, number, text, tokens, unknown, packets } of rules) {
      const { matches, target } = parseRuleTokens(tokens);
      this.recordChangingSets(target);
      const rule = { chain: name, text, matches: [...matches, ...unknown], target, lineNumber: line };
      this.rules.push({ ...rule, number, packets });
    }
  }

  /** Resolves the targets of the rules, because a chain may be declared after a rule that jumps to it. */
  finish(): void {
    for (const { chain } of this.rules) this.chainOf(chain);
    for (const { chain, number, text, matches, target, lineNumber, packets } of this.rules) {
      const { rules } = this.chainOf(chain);
      const targets = this.parseTargets(target) ?? this.failTarget(text, lineNumber);
      const rule = { number: number ?? rules.length + 1, text, matches, targets };
      rules.push(packets === undefined ? rule : { ...rule, packets });
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
    const ruleText = text.replace(counters, '').replace(listedCounters, '');
    const rule = parseRuleText(ruleText);
    if (!rule) this.fail(text, lineNumber);
    const { chain, matches, target } = rule;
    this.recordChangingSets(target);
    return { chain, text: ruleText, matches, target, packets: packetsOf(text) };
  }

  private recordChangingSets(target: readonly string[]): void {
    if (target[1] === 'SET') for (const token of target) this.changingSets.add(token);
  }

  private fail(text: string, lineNumber: number): never {
    const expected = tokenize(text)
      ? `":CHAIN", "-A CHAIN" or "COMMIT" in table ${this.name}`
      : 'a closing "';
    throw new DumpError({ line: lineNumber, found: text, expected });
  }

  private parseTargets([option, name, ...options]: readonly string[]): RuleTarget[] | undefined {
    if (option === cutTarget) return [{ kind: 'unknown' }];
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
    const parsed = parseChainLine(text);
    if (!parsed) {
      const expected = '":CHAIN POLICY [0:0]" with policy ACCEPT, DROP or -';
      throw new DumpError({ line: lineNumber, found: text, expected });
    }
    this.addChain(parsed.name, parsed.policy);
  }

  private addChain(name: string, policy: 'accept' | 'drop' | undefined): void {
    this.table.chains.set(name, { name, rules: [] });
    if (policy !== undefined) this.policies.set(name, policy);
  }
}

/** `iptables -S -v` prints the counters inside the rule. */
const listedCounters = / -c (\d+) \d+(?= |$)/;

/** Returns the packet counter that iptables-save -c prints before the rule, or iptables -S -v inside it. */
function packetsOf(text: string): string | undefined {
  const [, before] = /^\[(\d+):\d+\] */.exec(text) ?? [];
  return before ?? listedCounters.exec(text)?.[1];
}

interface PendingRule {
  /** Undefined if the dump does not number its rules. */
  readonly number?: number | undefined;
  readonly chain: string;
  readonly text: string;
  readonly matches: readonly RuleMatch[];
  /** The tokens starting with `-j` or `-g`. */
  readonly target: readonly string[];
  readonly lineNumber: number;
  readonly packets: string | undefined;
}
