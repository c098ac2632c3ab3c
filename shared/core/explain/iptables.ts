import { general, longNames, modules, type Option } from './options';
import { readTarget } from './targets';
import {
  type Backend,
  type Base,
  DumpError,
  type Family,
  type Hook,
  type Match,
  type Rule,
  type Table,
  type Target,
  type Test,
} from './model';

const hooks: Readonly<Record<string, Hook>> = {
  PREROUTING: 'prerouting',
  FORWARD: 'forward',
  OUTPUT: 'output',
  POSTROUTING: 'postrouting',
};
/** enum nf_ip_hook_priorities of the kernel; that of nat is its own, see `priorityOf`. */
const priorities: Readonly<Record<string, number>> = { raw: -300, mangle: -150, filter: 0, security: 50 };

export function priorityOf(table: string, hook: Hook): number {
  return table === 'nat' ? (hook === 'postrouting' ? 100 : -100) : (priorities[table] ?? 0);
}

/** One `*table` … `COMMIT`. Knows nothing of the sections around it. */
export class TableReader {
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
    const words = tokenise(text, at);
    if (/^\[\d+:\d+\]$/.test(words[0] ?? '')) words.shift();
    const [option, name = '', ...rest] = words;
    if (option !== '-A')
      throw new DumpError(at, text, `":CHAIN", "-A CHAIN" or "COMMIT" in table ${this.name}`);
    const chain = this.table.chains.get(name);
    if (!chain) throw new DumpError(at, text, `a chain that ":CHAIN" declares before in table ${this.name}`);
    const rule = this.readRule(chain.rules.length + 1, text.replace(/^\[\d+:\d+\] /, ''), rest, at);
    if (rest.includes('SET')) for (const word of rest) this.changingSets.add(word);
    chain.rules.push(rule);
  }

  end(): Base[] {
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

  private readRule(number: number, text: string, words: readonly string[], at: number): Rule {
    const { own, loaded, action } = split(words);
    return {
      number,
      text,
      matches: [...own, ...loaded.flatMap(readModule)],
      targets: this.targets(text, action, at),
    };
  }

  private targets(text: string, [option, name, ...words]: readonly string[], at: number): Target[] {
    if (name === undefined) return [];
    if (this.table.chains.has(name)) return [{ kind: option === '-g' ? 'goto' : 'jump', chain: name }];
    const targets = option === '-g' ? undefined : readTarget(name, words);
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
export function tokenise(text: string, at: number): string[] {
  if (!text.includes('"')) return text.split(/[ \t]+/).filter((word) => word !== '');
  const words: string[] = [];
  let word: string | undefined;
  let isQuoted = false;
  for (let index = 0; index < text.length; index++) {
    const character = text.charAt(index);
    if (character === '"') {
      isQuoted = !isQuoted;
      word ??= '';
    } else if (isQuoted && character === '\\') {
      word = (word ?? '') + text.charAt(++index);
    } else if (!isQuoted && (character === ' ' || character === '\t')) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else {
      word = (word ?? '') + character;
    }
  }
  if (isQuoted) throw new DumpError(at, text, 'a second " that ends the quoted text');
  if (word !== undefined) words.push(word);
  return words;
}

/** What one `-m` asks: it holds when all its options hold. */
interface Module {
  readonly name: string;
  readonly words: string[];
}

/** `action`: the words from `-j` or `-g` on. */
function split(words: readonly string[]): { own: Match[]; loaded: Module[]; action: readonly string[] } {
  const own: Match[] = [];
  const loaded: Module[] = [];
  let protocol = '';
  for (let index = 0; index < words.length; index++) {
    const isNegated = words[index] === '!';
    const word = words[isNegated ? index + 1 : index] ?? '';
    const option = longNames[word] ?? word;
    const next = words[index + (isNegated ? 2 : 1)] ?? '';
    const known = Object.hasOwn(general, option) ? general[option] : undefined;
    if (option === '-j' || option === '-g')
      return { own, loaded, action: [option, ...words.slice(index + 1)] };
    if (option === '-m') {
      loaded.push({ name: next, words: [] });
      index += 1;
    } else if (known) {
      const isOldNegation = next === '!';
      index += (isNegated ? 1 : 0) + (isOldNegation ? 1 : 0) + known.values;
      const values = words.slice(index - known.values + 1, index + 1);
      if (option === '-p') protocol = values[0] ?? '';
      own.push(finish(known, option, values, [], isNegated || isOldNegation));
    } else {
      index += take(words, index, loaded, protocol);
    }
  }
  return { own, loaded, action: [] };
}

/** Gives an option and its values to the module that was loaded last. @returns how many words more it took */
function take(words: readonly string[], index: number, loaded: Module[], protocol: string): number {
  // `-p tcp --dport 80`, as people write it, loads the module of the protocol.
  if (loaded.length === 0) loaded.push({ name: protocol, words: [] });
  const module = loaded.at(-1);
  const count = 1 + (words[index] === '!' ? 1 : 0) + valuesAfter(module?.name ?? '', words, index);
  module?.words.push(...words.slice(index, index + count));
  return count - 1;
}

function valuesAfter(module: string, words: readonly string[], index: number): number {
  const option = words[words[index] === '!' ? index + 1 : index] ?? '';
  return optionOf(module, option)?.values ?? 0;
}

function optionOf(module: string, option: string): Option | undefined {
  const options = Object.hasOwn(modules, module) ? modules[module] : undefined;
  return options && Object.hasOwn(options, option) ? options[option] : undefined;
}

function readModule({ name, words }: Module): Match[] {
  const matches: Match[] = [];
  for (let index = 0; index < words.length; index++) {
    const isNegated = words[index] === '!';
    if (isNegated) index += 1;
    const word = words[index] ?? '';
    const option = optionOf(name, word);
    if (!option) return [unknownMatch(name, words)];
    const values = words.slice(index + 1, index + 1 + option.values);
    index += option.values;
    matches.push(finish(option, word, values, words, isNegated));
  }
  if (matches.length === 0 && !Object.hasOwn(modules, name)) return [unknownMatch(name, words)];
  return matches;
}

function unknownMatch(name: string, words: readonly string[]): Match {
  const text = ['-m', name, ...words].join(' ');
  return { kind: 'unknown', why: 'this match is not known here', negated: false, text };
}

function finish(
  option: Option,
  name: string,
  values: readonly string[],
  all: readonly string[],
  negated: boolean,
): Match {
  const text = [...(negated ? ['!'] : []), name, ...values].join(' ');
  const test: Test = option.read(values, all) ?? {
    kind: 'unknown',
    why: 'only the packet itself would tell',
  };
  return { ...test, negated, text };
}
