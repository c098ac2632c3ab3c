import Table from 'cli-table3';
import { InvalidArgumentError, Option, type Command } from 'commander';
import pc from 'picocolors';
import { stringify } from 'yaml';

export type Format = 'table' | 'json' | 'yaml';

/** What a command answers: for programs, and for people. */
export interface Answer {
  readonly document: unknown;
  readonly text: string;
}

export const outputOption = (): Option =>
  new Option('-o, --output <format>', 'how the answer is printed')
    .choices(['table', 'json', 'yaml'])
    .default('table');

/** Colours where stdout is a terminal and neither NO_COLOR nor --no-color says otherwise. */
export const colours = pc.createColors(pc.isColorSupported && process.stdout.isTTY);

/** Writes the answer to stdout; everything else a command says goes to stderr. */
export function print({ document, text }: Answer, format: Format): void {
  process.stdout.write(printed(document, text, format));
}

function printed(document: unknown, text: string, format: Format): string {
  switch (format) {
    case 'json':
      return `${JSON.stringify(document, null, 2)}\n`;
    case 'yaml':
      return stringify(document, { aliasDuplicateObjects: false });
    case 'table':
      return `${text.trimEnd()}\n`;
  }
}

/** Columns as kubectl prints them: no lines, two spaces between. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const none = [
    ...['top', 'top-mid', 'top-left', 'top-right', 'bottom', 'bottom-mid', 'bottom-left', 'bottom-right'],
    ...['left', 'left-mid', 'mid', 'mid-mid', 'right', 'right-mid', 'middle'],
  ] as const;
  const made = new Table({
    head: [...head],
    chars: Object.fromEntries(none.map((place) => [place, ''])),
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 2 },
  });
  made.push(...rows.map((row) => [...row]));
  const text = made.toString();
  return text.replaceAll(/ +$/gm, '');
}

/** On stderr, so that stdout stays what programs read. */
export function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** A whole number of at least `least`, for commander. */
export const atLeast =
  (least: number) =>
  (text: string): number => {
    if (/^\d{1,9}$/.test(text) && Number(text) >= least) return Number(text);
    throw new InvalidArgumentError(`Accepted is a whole number of at least ${least}.`);
  };

/** Gathers an option that may be given several times. */
export const several = (value: string, before: readonly string[] | undefined): string[] => [
  ...(before ?? []),
  value,
];

/** `1 node`, `2 nodes`. */
export const count = (n: number, what: string): string => `${n} ${what}${n === 1 ? '' : 's'}`;

/** The examples at the end of a command's help. */
export function examples(command: Command, lines: readonly string[]): Command {
  return command.addHelpText('after', `\nExamples:\n${lines.map((line) => `  $ ${line}`).join('\n')}`);
}
