import { isatty } from 'node:tty';
import { SingleBar } from 'cli-progress';
import Table from 'cli-table3';
import pc from 'picocolors';
import { stringify } from 'yaml';
import { escapeJsonControls, stripControls, stripControlsKeepColours } from '../../shared/core/util/shell';

export type Format = 'table' | 'json' | 'yaml';

/** The output of a command in two forms: a document for programs, and text for people. */
export interface CommandOutput {
  readonly document: unknown;
  readonly text: string;
}

const isForced = process.env['FORCE_COLOR'] !== undefined;
/** Uses colours only on a terminal, unless NO_COLOR or FORCE_COLOR is set. */
export const colours = pc.createColors(pc.isColorSupported && (isForced || isatty(1)));

/** Prints a command's output to stdout. Nothing else is printed to stdout. */
export function print(output: CommandOutput, format: Format): void {
  process.stdout.write(serialize(output, format));
}

export function printErr(text: string): void {
  process.stderr.write(`${stripControlsKeepColours(text)}\n`);
}

/**
 * Serialises output. Control characters are removed or escaped in every format, because node names and rules are
 * untrusted input.
 */
function serialize({ document, text }: CommandOutput, format: Format): string {
  switch (format) {
    case 'json':
      return `${escapeJsonControls(JSON.stringify(document, null, 2))}\n`;
    case 'yaml':
      return stripControls(stringify(document, { aliasDuplicateObjects: false }));
    case 'table':
      return `${stripControlsKeepColours(text).trimEnd()}\n`;
  }
}

/** Formats a table in the style of kubectl: no borders, columns separated by two spaces. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const borders = [
    ...['top', 'top-mid', 'top-left', 'top-right', 'bottom', 'bottom-mid', 'bottom-left', 'bottom-right'],
    ...['left', 'left-mid', 'mid', 'mid-mid', 'right', 'right-mid', 'middle'],
  ] as const;
  const result = new Table({
    head: [...head],
    chars: Object.fromEntries(borders.map((border) => [border, ''])),
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 2 },
  });
  result.push(...rows.map((row) => [...row]));
  return result.toString().replaceAll(/ +$/gm, '');
}

/** Returns a number with its noun, such as `1 node` or `2 nodes`. */
export const count = (n: number, noun: string): string => `${n} ${noun}${n === 1 ? '' : 's'}`;

/** Returns undefined without a terminal, because a progress bar is noise in the log of a pipeline. */
const createBar = (format: string): SingleBar | undefined =>
  process.stderr.isTTY
    ? new SingleBar({ format, stream: process.stderr, clearOnComplete: true, hideCursor: null, fps: 4 })
    : undefined;

/** Shows how many nodes of a rollout have been proven. */
export function progressBar(total: number): SingleBar | undefined {
  const bar =
    total === 0 ? undefined : createBar('{label} {bar} {value}/{total} proven, {duration_formatted}');
  bar?.start(total, 0, { label: '' });
  return bar;
}

/** Shows what is in progress and how long it has been running. */
export async function withProgress<T>(label: string, work: Promise<T>): Promise<T> {
  const bar = createBar('{label}… {duration_formatted}');
  bar?.start(1, 0, { label });
  const refresh = setInterval(() => bar?.update({}), 1_000);
  try {
    return await work;
  } finally {
    clearInterval(refresh);
    bar?.stop();
  }
}
