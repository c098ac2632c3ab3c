import { isatty } from 'node:tty';
import Table from 'cli-table3';
import { InvalidArgumentError, Option, type Command } from 'commander';
import pc from 'picocolors';
import { stringify } from 'yaml';

export type Format = 'table' | 'json' | 'yaml';

/** What a command answers: for programs, and for people. */
export interface CommandOutput {
  readonly document: unknown;
  readonly text: string;
}

export const outputOption = (): Option =>
  new Option('-o, --output <format>', 'how the answer is printed')
    .choices(['table', 'json', 'yaml'])
    .default('table');

/** Colours where stdout is a terminal, unless NO_COLOR says otherwise; also elsewhere where FORCE_COLOR does. */
const isForced = process.env['FORCE_COLOR'] !== undefined;
export const colours = pc.createColors(pc.isColorSupported && (isForced || isatty(1)));

/** Writes the answer to stdout; everything else a command says goes to stderr. */
export function print({ document, text }: CommandOutput, format: Format): void {
  process.stdout.write(serialize(document, text, format));
}

function serialize(document: unknown, text: string, format: Format): string {
  switch (format) {
    case 'json':
      return `${JSON.stringify(document, null, 2).replaceAll(/[\u007f-\u009f]|\p{Cf}/gu, escapeCharacters)}\n`;
    case 'yaml':
      return stringify(document, { aliasDuplicateObjects: false }).replaceAll(controlCharacters, '\ufffd');
    case 'table':
      return `${stripControls(text).trimEnd()}\n`;
  }
}

/** JSON itself escapes only what comes before a space. */
const escapeCharacters = (text: string): string =>
  [...Array(text.length).keys()]
    .map((at) => `\\u${text.charCodeAt(at).toString(16).padStart(4, '0')}`)
    .join('');

// eslint-disable-next-line no-control-regex
const controlCharacters = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f]|\p{Cf}/gu;

/** Names and rules come from elsewhere: of what steers a terminal only colours and ends of lines are left. */
export const stripControls = (text: string): string =>
  text
    // eslint-disable-next-line no-control-regex
    .split(/(\u001b\[\d{1,2}m)/)
    .map((part, index) => (index % 2 === 1 ? part : part.replaceAll(controlCharacters, '\ufffd')))
    .join('');

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
export function printErr(text: string): void {
  process.stderr.write(`${stripControls(text)}\n`);
}

/** A whole number of at least `least`, for commander. */
export const atLeast =
  (least: number) =>
  (text: string): number => {
    if (/^\d{1,9}$/.test(text) && Number(text) >= least) return Number(text);
    throw new InvalidArgumentError(`Accepted is a whole number of at least ${least}.`);
  };

/** Gathers an option that may be given several times. */
export const collect = (value: string, before: readonly string[] | undefined): string[] => [
  ...(before ?? []),
  value,
];

/** `1 node`, `2 nodes`. */
export const count = (n: number, what: string): string => `${n} ${what}${n === 1 ? '' : 's'}`;

/** The examples at the end of a command's help. */
export function examples(command: Command, lines: readonly string[]): Command {
  return command.addHelpText('after', `\nExamples:\n${lines.map((line) => `  $ ${line}`).join('\n')}`);
}
