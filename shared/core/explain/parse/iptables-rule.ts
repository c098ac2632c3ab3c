import { unknownMatch, type RuleMatch } from '../model';
import { generalOptions, matchModules, optionAliases, type OptionParser } from './iptables-options';
import { parseTarget } from './iptables-targets';

export const counters = /^\[\d+:\d+\] */;

/** A chain, with its policy if the kernel calls it: `:CHAIN POLICY [0:0]`, `-P CHAIN POLICY` or `-N CHAIN`. */
export function parseChainLine(
  text: string,
): { name: string; policy: 'accept' | 'drop' | undefined } | undefined {
  const [, name, policy = '-'] =
    /^(?::|-P |-N )(\S+)(?: (ACCEPT|DROP|-)(?: \[\d+:\d+\]| -c \d+ \d+)?)?\s*$/.exec(text) ?? [];
  if (name === undefined || (text.startsWith(':') && !/^:\S+ \S/.test(text))) return undefined;
  if (policy === '-') return { name, policy: undefined };
  return { name, policy: policy === 'DROP' ? 'drop' : 'accept' };
}

/**
 * Splits a line into tokens with the quoting rules of iptables: `"` starts and ends a quoted string, and `\` escapes
 * one character inside it.
 * @returns undefined if a quoted string does not end
 */
export function tokenize(text: string): string[] | undefined {
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
  if (isQuoted) return undefined;
  if (token !== undefined) tokens.push(token);
  return tokens;
}

/** A match module (`-m NAME`) with its options. The module matches if all of its options match. */
interface MatchModule {
  readonly name: string;
  readonly tokens: string[];
}

export interface ParsedRule {
  readonly matches: readonly RuleMatch[];
  /** The tokens starting with `-j` or `-g`. */
  readonly target: readonly string[];
  /** Tokens where an option should be. */
  readonly strays: readonly string[];
}

export function parseRuleTokens(tokens: readonly string[]): ParsedRule {
  const general: RuleMatch[] = [];
  const modules: MatchModule[] = [];
  const strays: string[] = [];
  const finish = (target: readonly string[]) => ({
    matches: [...general, ...modules.flatMap(parseModule)],
    target,
    strays,
  });
  let protocol = '';
  let index = 0;
  while (index < tokens.length) {
    const { isNegated, name, start } = readOption(tokens, index);
    const option = ownEntry(optionAliases, name) ?? name;
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
      if (!name.startsWith('-')) strays.push(name);
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

/** Rules repeat most of their matches. Keeping each once halves the memory and the time for a large dump. */
const knownMatches = new Map<OptionParser, Map<string, RuleMatch>>();
const maxKnownMatches = 1000;

function buildMatch(parser: OptionParser, option: MatchOption): RuleMatch {
  const { name, values, moduleTokens = [], isNegated } = option;
  const withValues = values.length === 0 ? name : `${name} ${values.join(' ')}`;
  const text = isNegated ? `! ${withValues}` : withValues;
  const hasOtherOptions = moduleTokens.length > values.length + (isNegated ? 2 : 1);
  const known = knownMatches.get(parser) ?? new Map<string, RuleMatch>();
  const match = (hasOtherOptions ? undefined : known.get(text)) ?? parseMatch(parser, text, option);
  if (!hasOtherOptions && known.size < maxKnownMatches) known.set(text, match);
  knownMatches.set(parser, known);
  return match;
}

function parseMatch(
  parser: OptionParser,
  text: string,
  { values, moduleTokens = [], isNegated }: MatchOption,
): RuleMatch {
  const condition = parser.parse(values, moduleTokens);
  return condition ? { ...condition, isNegated, text } : { ...unknownMatch(text, undecidable), isNegated };
}

const undecidable = 'cannot be decided from a dump';

export const endsInCut = (text: string): boolean => /(?:\.\.\.|…)$/u.test(text);

/** @returns undefined if the text is not a rule: it has no chain, or a quoted string does not end */
export function parseRuleText(text: string): (ParsedRule & { readonly chain: string }) | undefined {
  const isCutOff = endsInCut(text);
  const tokens = tokenize(isCutOff ? closeQuote(text.replace(/\S*$/u, '')) : text);
  const [option, chain, ...options] = tokens ?? [];
  if (option !== '-A' || chain === undefined) return undefined;
  const parsed = parseRuleTokens(options);
  if (!isCutOff) return { chain, ...parsed };
  const rest = unknownMatch('…', 'cut off');
  return { chain, ...parsed, matches: [...parsed.matches, rest], target: [cutTarget] };
}

/** Takes the place of a target that was cut off, because every rule has an effect that is unknown then. */
export const cutTarget = '…';

const closeQuote = (text: string): string => (tokenize(text) ? text : `${text}"`);

/** Text with more problems is not a rule. */
export const maxProblems = 9;
const tooManyProblems = maxProblems + 1;

/**
 * Counts what is odd about a rule, a chain or a policy, to find out where a broken line has to be joined.
 * @param chains the chains that are declared in the same table
 */
export function countProblems(text: string, chains: ReadonlySet<string>): number {
  if (/^(?::|-[PN] )/.test(text)) return parseChainLine(text) ? 0 : tooManyProblems;
  const rule = parseRuleText(text.replace(counters, ''));
  if (!rule) return tooManyProblems;
  const unknown = rule.matches.filter(({ kind }) => kind === 'unknown').length;
  return unknown + rule.strays.length + countTargetProblems(rule.target, chains);
}

function countTargetProblems(
  [option, name, ...options]: readonly string[],
  chains: ReadonlySet<string>,
): number {
  if (name === undefined) return option === undefined ? 1 : tooManyProblems;
  const isChain = chains.has(name);
  if (options.length === 0) return isChain || parseTarget(name, options) ? 0 : 1;
  const [first = ''] = options;
  return !isChain && first.startsWith('-') && parseTarget(name, options) ? 0 : tooManyProblems;
}
