import type { Family } from '../model';
import type { Variant } from './header';

/** A command whose output follows, as far as the input names it. */
export interface Command {
  readonly text: string;
  readonly line: number;
  /** The program without its path: `iptables-nft-save`, `nft` or any other program. */
  readonly program: string;
  readonly args: readonly string[];
  /** Whether a line `# peermasq: COMMAND` names the command. That line is more reliable than a header. */
  readonly isMarker: boolean;
  /** Whether the command failed on the node, or had nothing to print. Known only from a line `# peermasq: COMMAND`. */
  readonly status: 'printed' | 'failed' | 'absent';
  /** The number of lines that the command printed, without empty ones. Known only from a line `# peermasq: COMMAND`. */
  readonly lineCount: number | undefined;
  /** Whether the output is filtered, for example by grep, so that lines may be missing. */
  readonly isFiltered: boolean;
  /** The family and the backend of iptables that the command itself names. */
  readonly family: Family | undefined;
  readonly variant: Variant | undefined;
}

interface CommandSource {
  readonly line: number;
  readonly isMarker: boolean;
}

/** Parses the commands of one shell line: `sudo iptables-save; ip route | grep default`. */
export function parseCommands(text: string, source: CommandSource): Command[] {
  const [, marked = text, count, status = 'printed'] = source.isMarker ? (markerEnd.exec(text) ?? []) : [];
  return marked
    .split(/&&|\|\||;/)
    .map((part) => part.trim())
    .filter((part) => part !== '')
    .map((part) => ({
      ...parseCommand(part, source),
      status: status as Command['status'],
      lineCount: count === undefined ? undefined : Number(count),
    }));
}

/** The end of `# peermasq: COMMAND (12 lines)` and `# peermasq: COMMAND failed`. */
const markerEnd = /^(.*?)(?: \((\d{1,9}) lines?\)| (failed|absent))?$/;

const filters = /^(?:[ef]?grep|rg|head|tail|awk|sed|cut|uniq|jq)$/;

function parseCommand(
  text: string,
  { line, isMarker }: CommandSource,
): Omit<Command, 'status' | 'lineCount'> {
  const [first = '', ...pipe] = text.split('|');
  const words = wordsOf(first);
  const start = Math.max(words.findIndex(isListingProgram), 0);
  const [path = '', ...args] = words.slice(start);
  const program = path.replace(/^.*\//, '');
  return {
    text,
    line,
    program,
    args,
    isMarker,
    isFiltered: pipe.some((part) => filters.test(wordsOf(part).find((word) => word !== 'sudo') ?? '')),
    family: familyOf(program, args),
    variant: variantOf(program),
  };
}

const wordsOf = (text: string): string[] => text.split(/[\s'"`()]+/).filter((word) => word !== '');

const listingProgram =
  /^(?:\S*\/)?(?:ip6?tables(?:-nft|-legacy)?(?:-save)?|xtables-save|nft|ipset|ip|conntrack|sysctl)$/;
const isListingProgram = (word: string): boolean => listingProgram.test(word);

function familyOf(program: string, args: readonly string[]): Family | undefined {
  if (program.startsWith('ip6tables')) return 6;
  if (program.startsWith('iptables')) return 4;
  if (program !== 'ip') return undefined;
  return args.includes('-6') || args.includes('inet6') ? 6 : 4;
}

function variantOf(program: string): Variant | undefined {
  if (/-legacy\b/.test(program)) return 'legacy';
  return /-nft\b|^xtables-/.test(program) ? 'nft' : undefined;
}

/** The arguments with which each program lists something, so that prose such as "ip addresses" is not taken for a command. */
const listing = new RegExp(
  [
    String.raw`^(?:sudo\s+(?:-\w+\s+)*)?(?:\S*/)?(?:`,
    String.raw`(?:ip6?tables(?:-nft|-legacy)?|xtables)-save(?=\s*$|\s+[-|>;&])`,
    String.raw`|ip6?tables(?:-nft|-legacy)?\s+-`,
    String.raw`|nft\s+(?:-\w+\s+)*(?:list|-)`,
    String.raw`|ipset\s+(?:-\w+\s+)*(?:save|list|-)`,
    String.raw`|ip\s+(?:-[\w]+\s+)*(?:a|addr|address|r|route|ro|ru|rule|rules?|l|link|n|neigh)(?=\s*$|\s+[a-z\d|>;&])`,
    String.raw`|conntrack\s+-`,
    ')',
  ].join(''),
);

/** Whether the text is a command that prints part of a node's rules, addresses or routes. */
export const isListingCommand = (text: string): boolean => listing.test(text);

/** The value of the option `-t` of iptables; undefined if there is none. */
export function tableOption({ args }: Command): string | undefined {
  const joined = args.find((arg) => /^(?:-t|--table=)[a-z]+$/.test(arg));
  if (joined !== undefined) return joined.replace(/^(?:-t|--table=)/, '');
  const index = args.findIndex((arg) => arg === '-t' || arg === '--table');
  return index < 0 ? undefined : args[index + 1];
}

/** Whether the command is from a snapshot that names every command, with the number of lines that it printed. */
export const isCounted = ({ lineCount, status }: Command): boolean =>
  lineCount !== undefined || status === 'absent';

export const isTablesProgram = ({ program }: Command): boolean => /^(?:ip6?tables|xtables)\b/.test(program);

/** Whether the command prints every table of its backend: `iptables-save` without `-t`. */
export const showsAllTables = (command: Command): boolean =>
  /tables\S*-save$/.test(command.program) && tableOption(command) === undefined && !command.isFiltered;

/** Whether the command prints all of nft: `nft -j list ruleset`. */
export const showsNftRuleset = ({ program, args, isFiltered }: Command): boolean =>
  program === 'nft' && args.filter((arg) => !arg.startsWith('-')).join(' ') === 'list ruleset' && !isFiltered;

/** Whether the commands print every chain of a table: `iptables -t nat -S`, but not `iptables -t nat -S POSTROUTING`. */
export function listWholeTable(commands: readonly Command[]): boolean {
  const [command, ...others] = commands.filter(isTablesProgram);
  if (!command || others.length > 0 || command.isFiltered) return false;
  const table = tableOption(command);
  return command.args.every((arg) => arg.startsWith('-') || arg === table);
}
