import type { Line } from '../../input';

export type TokenKind = 'word' | 'string' | 'sign' | 'line-end';

/** A part of nft's text. */
export interface Token {
  readonly kind: TokenKind;
  /** Without the quotes of a string. */
  readonly text: string;
  readonly line: number;
  /** How many characters of white space come before it on its line. */
  readonly space: number;
  /** Where it is in its line, to show the text of a statement as it was printed. */
  readonly source: string;
  readonly start: number;
  readonly end: number;
}

/** A string, a sign, or a word. nft does not escape quotes: it rejects strings that contain them. */
const pattern = /"([^"]*)"|([{}();,])|[^\s{}();,"]+|"/g;

/** Splits the lines into tokens, with a `line-end` after each line. */
export function tokenize(lines: readonly Line[]): Token[] {
  const tokens: Token[] = [];
  for (const { text: source, number: line } of lines) {
    let previous = 0;
    for (const match of source.matchAll(pattern)) {
      const [text, string, sign] = match;
      const start = match.index;
      const end = start + text.length;
      tokens.push({
        kind: kindOf(string, sign),
        text: string ?? text,
        line,
        space: start - previous,
        source,
        start,
        end,
      });
      previous = end;
    }
    const end = source.length;
    tokens.push({ kind: 'line-end', text: '', line, space: 0, source, start: end, end });
  }
  return tokens;
}

function kindOf(string: string | undefined, sign: string | undefined): TokenKind {
  if (string !== undefined) return 'string';
  return sign === undefined ? 'word' : 'sign';
}

/** Reads tokens one after the other. */
export class Cursor {
  private position = 0;

  constructor(private readonly tokens: readonly Token[]) {}

  get isAtEnd(): boolean {
    return this.position >= this.tokens.length;
  }

  peek(offset = 0): Token | undefined {
    return this.tokens[this.position + offset];
  }

  next(): Token | undefined {
    return this.tokens[this.position++];
  }

  /** Whether the next token is this word or sign. */
  isNext(text: string): boolean {
    const token = this.peek();
    return token?.text === text && token.kind !== 'string';
  }

  /** Skips the next token if it is one of these words or signs. */
  skip(...texts: readonly string[]): boolean {
    if (!texts.some((text) => this.isNext(text))) return false;
    this.position++;
    return true;
  }

  /** Reads a word that the pattern matches. */
  word(wanted: RegExp): string | undefined {
    const token = this.peek();
    if (token?.kind !== 'word' || !wanted.test(token.text)) return undefined;
    this.position++;
    return token.text;
  }

  /** Reads a word or a string. */
  name(): string | undefined {
    const token = this.peek();
    if (token?.kind !== 'word' && token?.kind !== 'string') return undefined;
    this.position++;
    return token.text;
  }

  get mark(): number {
    return this.position;
  }

  /** Goes back to, or on to, a position. */
  moveTo(position: number): void {
    this.position = position;
  }

  /** The text from a position up to the next token. */
  textSince(position: number): string {
    return textOf(this.tokens.slice(position, this.position));
  }
}

/** The tokens as they were printed, with one space between lines. */
export function textOf(tokens: readonly Token[]): string {
  const texts = tokens.map(({ source, start, end }) => source.slice(start, end));
  return texts
    .map((text, index) => (index > 0 && (tokens[index]?.space ?? 0) > 0 ? ` ${text}` : text))
    .join('')
    .trim();
}
