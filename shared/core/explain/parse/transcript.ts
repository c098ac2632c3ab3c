import { isListingCommand, parseCommands, type Command } from './command';
import { removeDecoration } from './decoration';
import type { Line } from './input';

/** Lines that follow a command, or the lines before the first command. */
export interface Section {
  /** The commands of the line before, which may be several: `iptables-save; ip route`. Empty if none is shown. */
  readonly commands: readonly Command[];
  readonly lines: readonly Line[];
}

/**
 * Splits the input at the commands that it shows: after a prompt, after the `+` of `set -x`, on a line of their own, or
 * in a line `# peermasq: COMMAND`. Decoration is removed.
 */
export function splitSections(lines: readonly Line[]): Section[] {
  let current: { commands: readonly Command[]; lines: Line[] } = { commands: [], lines: [] };
  const sections = [current];
  for (const line of removeDecoration(lines)) {
    const boundary = parseBoundary(line);
    if (boundary) {
      current = { commands: boundary, lines: [] };
      sections.push(current);
    } else {
      current.lines.push(line);
    }
  }
  return sections.map(compareCount);
}

/** Treats output of which lines are missing, or into which other lines got, like the output of grep. */
function compareCount({ commands, lines }: Section): Section {
  const count = lines.filter(({ text }) => text.trim() !== '').length;
  const compared = commands.map((command) => ({
    ...command,
    isFiltered: command.isFiltered || (command.lineCount ?? count) !== count,
  }));
  return { commands: compared, lines };
}

const marker = /^\s*# peermasq: (.*)$/;

/** The usual prompts: `root@node:~#`, `[root@node ~]#`, `sh-4.2#`, `/ #`, `$`, and the `+` of `set -x`. */
const prompt = new RegExp(
  [
    String.raw`^\s*(?:\(\S+\)\s*)?(?:\[?\d\d:\d\d(?::\d\d)?\]?\s*)?(?:`,
    String.raw`\[[^\]\s]+@[^\]]+\]`,
    String.raw`|[\w.-]+@[\w.-]+(?:[: ][^#$%>\s]*)?`,
    String.raw`|(?:[\w.-]+:)?[~/][^#$%>\s]*`,
    String.raw`|(?:ba|da|z|k|c)?sh-\d[\d.]*`,
    String.raw`|PS [A-Z]:\\[^>]*`,
    String.raw`)\s?[#$%>](?:\s+(.*))?$`,
  ].join(''),
);
const plainPrompt = /^\s*\$\s+(\S.*)$/;
/** A sign that is a prompt only before a command that lists something. */
const possiblePrompt = /^.{0,100}?[#$%>+❯➜»λ]\s*(\S.*)$/u;

/** The lines that ansible, pssh and `tail` print before the output of each host or file. */
const outputHeader =
  /^(?:\S+ \| (?:CHANGED|SUCCESS|FAILED)(?: \| rc=\d+)? >>|\[\d+\] [\d:]+ \[\w+\] \S+|==> .* <==)$/;

/** The signs around a command that is a heading: `=== iptables-save ===`, `**iptables -t nat -S**:`. */
const headingSigns = /^[\s#=*+>`$-]+|[\s:=*`-]+$/g;

/** @returns the commands of a line that separates sections; undefined if the line is output */
function parseBoundary({ text, number }: Line): Command[] | undefined {
  const [, marked] = marker.exec(text) ?? [];
  if (marked !== undefined) return parseCommands(marked, { line: number, isMarker: true });
  if (outputHeader.test(text)) return [];
  const command = promptedCommand(text);
  return command === undefined ? undefined : parseCommands(command, { line: number, isMarker: false });
}

function promptedCommand(text: string): string | undefined {
  const trimmed = text.trim();
  if (/^(?:-[A-Z]|[:*{}]|\[\d+:\d+\] *-)/.test(trimmed)) return undefined;
  const prompted = prompt.exec(text);
  if (prompted) return prompted[1] ?? '';
  const [, command] = plainPrompt.exec(text) ?? [];
  if (command !== undefined) return command;
  const [, possible] = possiblePrompt.exec(text) ?? [];
  if (possible !== undefined && isListingCommand(possible)) return possible;
  const heading = trimmed.replaceAll(headingSigns, '');
  return isListingCommand(heading) ? heading : undefined;
}
