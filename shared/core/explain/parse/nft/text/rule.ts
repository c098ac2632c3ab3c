import { definedOnly } from '../../../../util/collections';
import type { JsonObject, JsonValue } from '../values';
import { readStatement } from './statement';
import { Cursor, textOf, type Token } from './tokens';
import { isApproximate } from './translation';

/** Where a rule is, as far as it matters for reading it. */
export interface RuleContext {
  /** `ip` or `ip6` if iptables-nft may have written the table, whose extensions nft translates. */
  readonly managedFamily: string | undefined;
  /** Whether this nft prints nothing for an extension that it cannot translate. */
  readonly losesMatches: boolean;
  /** How many characters of white space come before a rule from which nothing was lost. */
  readonly indentation: number;
}

/** A part of a rule that is shown but has an unknown meaning. With `rest`, it may be a match and a verdict. */
const unreadable = (text: string, part: 'match' | 'target' | 'rest'): JsonObject => ({
  unreadable: { text, part },
});

/** Reads one rule, as nft prints it, into the JSON that nft prints for it. */
export function readRule(tokens: readonly Token[], context: RuleContext): JsonObject {
  const { body, handle } = splitHandle(tokens);
  const cursor = new Cursor(body);
  const expr: JsonValue[] = [];
  let comment: string | undefined;
  while (!cursor.isAtEnd) {
    if (context.losesMatches && isAfterLostMatch(cursor, context)) expr.push(unreadable(lostMatch, 'match'));
    if (cursor.skip('comment')) comment = cursor.name();
    else expr.push(...readPart(cursor, context));
  }
  return definedOnly({ expr, handle, comment });
}

const lostMatch = '(a comment, or a match that nft does not print)';

/** nft before 1.0.6 prints only the spaces around a comment, and around a match that it cannot translate. */
function isAfterLostMatch(cursor: Cursor, { managedFamily, indentation }: RuleContext): boolean {
  const token = cursor.peek();
  if (managedFamily === undefined || !token) return false;
  return token.space > (cursor.mark === 0 ? indentation : 1);
}

function readPart(cursor: Cursor, { managedFamily }: RuleContext): JsonObject[] {
  const start = cursor.mark;
  const token = cursor.peek();
  if (token?.kind === 'word' && token.text.startsWith('#')) return readCommented(cursor);
  const statement = readStatement(cursor);
  if (!statement) {
    cursor.moveTo(start);
    return [unreadable(readRest(cursor), 'rest')];
  }
  const part = managedFamily === undefined ? undefined : isApproximate(statement, managedFamily);
  return [part === undefined ? statement : unreadable(cursor.textSince(start), part)];
}

/** Reads up to the comment at the end of the rule. */
function readRest(cursor: Cursor): string {
  const start = cursor.mark;
  while (!cursor.isAtEnd && !isLastComment(cursor)) cursor.next();
  return cursor.textSince(start);
}

const isLastComment = (cursor: Cursor): boolean =>
  cursor.isNext('comment') && cursor.peek(1)?.kind === 'string' && cursor.peek(2) === undefined;

/**
 * Reads an extension of iptables that nft does not translate: `# xt_MASQUERADE` or, in older versions, what `iptables
 * -L` would print, such as `# match-set pods src`.
 */
function readCommented(cursor: Cursor): JsonObject[] {
  const start = cursor.mark;
  cursor.skip('#');
  const [, name] = /^#?xt_(\w+)$/.exec(cursor.peek()?.text ?? '') ?? [];
  if (name !== undefined) {
    cursor.next();
    return [{ xt: { type: /^[A-Z]/.test(name) ? 'target' : 'match', name } }];
  }
  cursor.moveTo(start);
  do cursor.next();
  while (!cursor.isAtEnd && !(cursor.isNext('counter') && cursor.peek(1)?.text === 'packets'));
  return [unreadable(cursor.textSince(start), cursor.isAtEnd ? 'rest' : 'match')];
}

/** `# handle 5` at the end of a line of `nft -a`. */
export function splitHandle(tokens: readonly Token[]): {
  readonly body: readonly Token[];
  readonly handle: number | undefined;
} {
  const [sign, word, value] = tokens.slice(-3);
  const isHandle = sign?.text === '#' && word?.text === 'handle' && /^\d+$/.test(value?.text ?? '');
  return isHandle
    ? { body: tokens.slice(0, -3), handle: Number(value?.text) }
    : { body: tokens, handle: undefined };
}

/** A rule of which nothing can be read, or a place where rules were left out. */
export const unreadableRule = (tokens: readonly Token[]): JsonObject => ({
  expr: [unreadable(textOf(tokens), 'rest')],
});
