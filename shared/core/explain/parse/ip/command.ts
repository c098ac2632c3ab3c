import type { Family } from '../../model';
import type { Command } from '../command';
import { routingTableName } from './rule';

/** What a command such as `ip -6 route show table 2` prints. */
export interface IpCommand {
  readonly object: 'addr' | 'route' | 'rule';
  /** Undefined if the command prints both families. */
  readonly family: Family | undefined;
  /** The table whose routes are printed. Undefined if the command prints the routes of every table. */
  readonly table: string | undefined;
  /** Whether the command prints everything, and not, for example, only the routes of one interface. */
  readonly isComplete: boolean;
  /** Whether lines of the output are missing. */
  readonly isCut: boolean;
}

const objects: readonly (readonly [IpCommand['object'], RegExp])[] = [
  ['addr', /^a(d(d(r(e(s(s)?)?)?)?)?)?$/],
  ['route', /^r(o(u(t(e)?)?)?)?$/],
  ['rule', /^ru(l(e)?)?$/],
];

/** @returns undefined if the command does not print addresses, routes or rules */
export function parseIpCommand({ program, args, status, isFiltered }: Command): IpCommand | undefined {
  if (program !== 'ip') return undefined;
  const words = args.filter((word) => !redirection.test(word));
  const name = words.findIndex(
    (word, index) => !word.startsWith('-') && !isFamilyName(word, words[index - 1]),
  );
  const object = objects.find(([, pattern]) => pattern.test(words[name] ?? ''))?.[0];
  if (object === undefined) return undefined;
  const rest = words.slice(name + 1);
  if (/^(s|sh|sho|show|l|ls|li|lis|list)$/.test(rest[0] ?? '')) rest.shift();
  const table = /^t(a(b(le?)?)?)?$/.test(rest[0] ?? '') ? rest.splice(0, 2)[1] : undefined;
  const isEveryTable = table === 'all' || table === '0';
  return {
    object,
    family: familyOf(words.slice(0, name)) ?? (object === 'addr' || isEveryTable ? undefined : 4),
    table: isEveryTable ? undefined : routingTableName(table ?? 'main'),
    isComplete: rest.length === 0 && status !== 'failed' && !isFiltered,
    isCut: status === 'failed' || isFiltered,
  };
}

const redirection = /^\d?[<>]/;

const isFamilyName = (word: string, option = ''): boolean => /^inet6?$/.test(word) && option.startsWith('-f');

function familyOf(options: readonly string[]): Family | undefined {
  if (options.includes('-6') || options.includes('inet6')) return 6;
  return options.includes('-4') || options.includes('inet') ? 4 : undefined;
}
