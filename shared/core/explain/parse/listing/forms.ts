/** How `iptables -L` prints a match or a target, and how iptables-save prints the same. */
export interface Form {
  /** Anchored at the start of the text. */
  readonly pattern: RegExp;
  /** @returns undefined if the value is not one that this form has */
  readonly tokens: (groups: readonly string[]) => readonly string[] | undefined;
  /** The forms that may follow, in any order and number. */
  readonly options: readonly Form[];
}

export const form = (pattern: RegExp, tokens: Form['tokens'], options: readonly Form[] = []): Form => ({
  pattern,
  tokens,
  options,
});

interface ReadText {
  readonly tokens: readonly string[];
  /** The text that was not read. */
  readonly rest: string;
}

/** Reads as many of the forms as the text starts with. */
export function readForms(forms: readonly Form[], text: string): ReadText {
  const tokens: string[] = [];
  let rest = text;
  for (;;) {
    const read = readForm(forms, rest);
    if (!read) return { tokens, rest };
    tokens.push(...read.tokens);
    rest = read.rest;
  }
}

function readForm(forms: readonly Form[], text: string): ReadText | undefined {
  if (text === '') return undefined;
  for (const { pattern, tokens, options } of forms) {
    const [whole, ...groups] = pattern.exec(text) ?? [];
    if (whole === undefined) continue;
    const head = tokens(groups.map((group: string | undefined) => group ?? ''));
    if (!head) continue;
    const rest = text.slice(whole.length).trimStart();
    if (options.length === 0) return { tokens: head, rest };
    const read = readForms(options, rest);
    return { tokens: [...head, ...read.tokens], rest: read.rest };
  }
  return undefined;
}

/** An option with its value, and `!` before it if the listing shows a `!`. */
export const option = (name: string, value = '', negation = ''): string[] =>
  negation === '' ? [name, value] : ['!', name, value];
