import { DumpError } from '../model';

/** One line of the input. A line that was joined from several keeps the number of the first. */
export interface Line {
  readonly text: string;
  /** The line number, starting at 1. */
  readonly number: number;
}

const maxInputLength = 64 * 1024 * 1024;
/** kube-proxy writes about 70,000 lines for 10,000 services with one pod each. */
const maxLines = 100_000;
const maxLineLength = 64 * 1024;

/** Decodes a file. PowerShell writes UTF-16 with a byte order mark; everything else is read as UTF-8. */
export function decodeInput(bytes: Uint8Array): string {
  return new TextDecoder(encodingOf(bytes)).decode(bytes);
}

function encodingOf(bytes: Uint8Array): 'utf-8' | 'utf-16le' | 'utf-16be' {
  const [first, second] = bytes;
  if (first === 0xff && second === 0xfe) return 'utf-16le';
  if (first === 0xfe && second === 0xff) return 'utf-16be';
  // Without a byte order mark, the high byte of an ASCII character is 0.
  if (first !== 0 && second === 0) return 'utf-16le';
  return first === 0 && second !== 0 ? 'utf-16be' : 'utf-8';
}

/** Splits the input into lines, without what terminals, chats and editors add to text. */
export function splitLines(text: string): Line[] {
  if (text.length > maxInputLength) {
    const found = `${text.length} characters`;
    throw new DumpError({ line: 1, found, expected: `at most ${maxInputLength} characters` });
  }
  const lines: Line[] = [];
  for (const raw of text.split(lineBreak, maxLines + 1)) {
    const line = { text: cleanLine(raw), number: lines.length + 1 };
    rejectLongLine(line);
    lines.push(line);
  }
  if (lines.length <= maxLines) return lines;
  throw new DumpError({
    line: maxLines + 1,
    found: 'more lines',
    expected: `at most ${maxLines} lines`,
  });
}

const lineBreak = /\r*\n|\r/;

/** Only JSON has long lines: nft prints all of it on one. */
function rejectLongLine({ text, number }: Line): void {
  if (text.length <= maxLineLength || /^\s*[#{]/.test(text)) return;
  const expected = `at most ${maxLineLength} characters in a line`;
  throw new DumpError({ line: number, found: text, expected });
}

const escapeSequences =
  // eslint-disable-next-line no-control-regex
  /\u001b(?:\[[\d;?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)|[()][\dA-Z]|[=>78cDEHM])/g;

const unusual = /[^\t -~]/;

/** Removes colours and invisible characters, and replaces typographic spaces and quotes. */
function cleanLine(raw: string): string {
  if (!unusual.test(raw)) return raw.trimEnd();
  return raw
    .replaceAll(escapeSequences, '')
    .replaceAll(/[\u00ad\u200b-\u200f\u2060\ufeff]/g, '')
    .replaceAll(/[\u00a0\u2000-\u200a\u202f\u3000]/g, ' ')
    .replaceAll(/[\u201c-\u201f]/g, '"')
    .replaceAll(/[\u2018\u2019]/g, "'")
    .trimEnd();
}

/** A line that stands for lines that were left out: `...`, `[snip]`, or the `--` between the matches of grep. */
export const isCut = (text: string): boolean =>
  /^\s*(?:[-.…\s<([{]*(?:snip(?:ped)?|cut|truncated|omitted|output (?:truncated|omitted)|\.{3,}|…)[-.…\s>)\]}]*|--)$/iu.test(
    text,
  );
