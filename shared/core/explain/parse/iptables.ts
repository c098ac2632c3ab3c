import { generalOptions, optionAliases, matchModules, type OptionParser } from './iptables-options';
import { parseTarget } from './iptables-targets';
import {
  type Backend,
  type BaseChain,
  DumpError,
  type Family,
  type Hook,
  type RuleMatch,
  type Rule,
  type Table,
  type RuleTarget,
  type Condition,
} from '../model';

const hooks: Readonly<Record<string, Hook>> = {
  PREROUTING: 'prerouting',
  FORWARD: 'forward',
  OUTPUT: 'output',
  POSTROUTING: 'postrouting',
};
/** enum nf_ip_hook_priorities of the kernel; that of nat is its own, see `priorityOf`. */
const priorities: Readonly<Record<string, number>> = {
  raw: -300,
  mangle: -150,
  filter: 0,
  security: 50,
};

export function priorityOf(table: string, hook: Hook): number {
  return table === 'nat' ? (hook === 'postrouting' ? 100 : -100) : (priorities[table] ?? 0);
}

/** One `*table` … `COMMIT`. Knows nothing of the sections around it. */
export class TableParser {
  readonly table: Table;
  readonly changingSets = new Set<string>();
  private readonly policies = new Map<string, 'accept' | 'drop'>();

  constructor(
    private readonly name: string,
    backend: Backend,
    families: readonly Family[],
  ) {
    this.table = { backend, name, families, chains: new Map() };
  }

  /** Takes `:CHAIN POLICY [0:0]` and `-A CHAIN …`; packet counters may stand before the latter. */
  line(text: string, at: number): void {
    if (text.startsWith(':')) {
      this.declare(text, at);
      return;
    }
    const tokens = tokenize(text, at);
    if (/^\[\d+:\d+\]$/.test(tokens[0] ?? '')) tokens.shift();
    const [option, name = '', ...rest] = tokens;
    if (option !== '-A')
      throw new DumpError(at, text, `":CHAIN", "-A CHAIN" or "COMMIT" in table ${this.name}`);
    const chain = this.table.chains.get(name);
    if (!chain) throw new DumpError(at, text, `a chain that ":CHAIN" declares before in table ${this.name}`);
    const rule = this.parseRule(chain.rules.length + 1, text.replace(/^\[\d+:\d+\] /, ''), rest, at);
    if (rest.includes('SET')) for (const token of rest) this.changingSets.add(token);
    chain.rules.push(rule);
  }

  end(): BaseChain[] {
    return [...this.policies].flatMap(([name, policy]) => {
      const hook = hooks[name];
      const chain = this.table.chains.get(name);
      if (!hook || !chain) return [];
      return [
        {
          table: this.table,
          chain,
          hook,
          isNat: this.name === 'nat',
          priority: priorityOf(this.name, hook),
          policy,
        },
      ];
    });
  }

  private parseRule(number: number, text: string, tokens: readonly string[], at: number): Rule {
    const { generalMatches, loadedModules, targetTokens } = split(tokens);
    return {
      number,
      text,
      matches: [...generalMatches, ...loadedModules.flatMap(parseModule)],
      targets: this.targets(text, targetTokens, at),
    };
  }

  private targets(text: string, [option, name, ...tokens]: readonly string[], at: number): RuleTarget[] {
    if (name === undefined) return [];
    if (this.table.chains.has(name)) return [{ kind: option === '-g' ? 'goto' : 'jump', chain: name }];
    const targets = option === '-g' ? undefined : parseTarget(name, tokens);
    if (!targets)
      throw new DumpError(
        at,
        text,
        `after ${option ?? '-j'} a target or a chain that table ${this.name} declares`,
      );
    return targets;
  }

  private declare(text: string, at: number): void {
    const [, name, policy] = /^:(\S+) (ACCEPT|DROP|-)(?: \[\d+:\d+\])?\s*$/.exec(text) ?? [];
    if (name === undefined)
      throw new DumpError(at, text, '":CHAIN POLICY [0:0]", the policy being ACCEPT, DROP or -');
    this.table.chains.set(name, { name, rules: [] });
    if (policy !== '-') this.policies.set(name, policy === 'DROP' ? 'drop' : 'accept');
  }
}

/** iptables' own rules of quoting: `"` opens and closes, `\` takes the next character as it is inside quotes. */
export function tokenize(text: string, at: number): string[] {
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
  if (isQuoted) throw new DumpError(at, text, 'a second " that ends the quoted text');
  if (token !== undefined) tokens.push(token);
  return tokens;
}

/** What one `-m` asks: it holds when all its options hold. */
interface MatchModule {
  readonly name: string;
  readonly tokens: string[];
}

/** `action`: the words from `-j` or `-g` on. */
function split(tokens: readonly string[]): {
  generalMatches: RuleMatch[];
  loadedModules: MatchModule[];
  targetTokens: readonly string[];
} {
  const generalMatches: RuleMatch[] = [];
  const loadedModules: MatchModule[] = [];
  let protocol = '';
  for (let index = 0; index < tokens.length; index++) {
    const isNegated = tokens[index] === '!';
    const token = tokens[isNegated ? index + 1 : index] ?? '';
    const option = optionAliases[token] ?? token;
    const next = tokens[index + (isNegated ? 2 : 1)] ?? '';
    const known = Object.hasOwn(generalOptions, option) ? generalOptions[option] : undefined;
    if (option === '-j' || option === '-g')
      return { generalMatches, loadedModules, targetTokens: [option, ...tokens.slice(index + 1)] };
    if (option === '-m') {
      loadedModules.push({ name: next, tokens: [] });
      index += 1;
    } else if (known) {
      const isLegacyNegation = next === '!';
      index += (isNegated ? 1 : 0) + (isLegacyNegation ? 1 : 0) + known.values;
      const values = tokens.slice(index - known.values + 1, index + 1);
      if (option === '-p') protocol = values[0] ?? '';
      generalMatches.push(buildMatch(known, option, values, [], isNegated || isLegacyNegation));
    } else {
      index += consumeOption(tokens, index, loadedModules, protocol);
    }
  }
  return { generalMatches, loadedModules, targetTokens: [] };
}

/** Gives an option and its values to the module that was loaded last. @returns how many words more it took */
function consumeOption(
  tokens: readonly string[],
  index: number,
  loadedModules: MatchModule[],
  protocol: string,
): number {
  // `-p tcp --dport 80`, as people write it, loads the module of the protocol.
  if (loadedModules.length === 0) loadedModules.push({ name: protocol, tokens: [] });
  const module = loadedModules.at(-1);
  const count = 1 + (tokens[index] === '!' ? 1 : 0) + valueCountOf(module?.name ?? '', tokens, index);
  module?.tokens.push(...tokens.slice(index, index + count));
  return count - 1;
}

function valueCountOf(module: string, tokens: readonly string[], index: number): number {
  const option = tokens[tokens[index] === '!' ? index + 1 : index] ?? '';
  return optionOf(module, option)?.values ?? 0;
}

function optionOf(module: string, option: string): OptionParser | undefined {
  const options = Object.hasOwn(matchModules, module) ? matchModules[module] : undefined;
  return options && Object.hasOwn(options, option) ? options[option] : undefined;
}

function parseModule({ name, tokens }: MatchModule): RuleMatch[] {
  const matches: RuleMatch[] = [];
  for (let index = 0; index < tokens.length; index++) {
    const isNegated = tokens[index] === '!';
    if (isNegated) index += 1;
    const token = tokens[index] ?? '';
    const option = optionOf(name, token);
    if (!option) return [unknownMatch(name, tokens)];
    const values = tokens.slice(index + 1, index + 1 + option.values);
    index += option.values;
    matches.push(buildMatch(option, token, values, tokens, isNegated));
  }
  if (matches.length === 0 && !Object.hasOwn(matchModules, name)) return [unknownMatch(name, tokens)];
  return matches;
}

function unknownMatch(name: string, tokens: readonly string[]): RuleMatch {
  const text = ['-m', name, ...tokens].join(' ');
  return { kind: 'unknown', reason: 'this match is not known here', negated: false, text };
}

function buildMatch(
  option: OptionParser,
  name: string,
  values: readonly string[],
  all: readonly string[],
  negated: boolean,
): RuleMatch {
  const text = [...(negated ? ['!'] : []), name, ...values].join(' ');
  const test: Condition = option.parse(values, all) ?? {
    kind: 'unknown',
    reason: 'only the packet itself would tell',
  };
  return { ...test, negated, text };
}
