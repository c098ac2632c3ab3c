import { objectOf, textOf, type JsonObject, type JsonValue } from '../values';
import { readElements, readVerdict } from './elements';
import { isField, readAtom, readConcatenation, readExpression } from './expression';
import { readNat } from './nat';
import type { Cursor } from './tokens';

type StatementReader = (cursor: Cursor) => JsonObject | undefined;

/** Reads one statement of a rule. @returns undefined if it cannot be read */
export function readStatement(cursor: Cursor): JsonObject | undefined {
  const verdict = readVerdict(cursor);
  if (verdict) return verdict;
  const { kind, text = '' } = cursor.peek() ?? {};
  const start = cursor.mark;
  if (kind === 'word' && Object.hasOwn(statements, text)) {
    cursor.next();
    const statement = statements[text]?.(cursor);
    if (statement) return statement;
    cursor.moveTo(start);
  }
  return readExpressionStatement(cursor);
}

const number = /^\d+$/;

const statements: Readonly<Record<string, StatementReader>> = {
  counter: (cursor) => {
    if (cursor.skip('name')) return { counter: cursor.name() ?? '' };
    if (!cursor.skip('packets')) return { counter: null };
    const packets = cursor.word(number);
    const bytes = cursor.skip('bytes') ? cursor.word(number) : undefined;
    return packets === undefined || bytes === undefined
      ? undefined
      : { counter: { packets: Number(packets), bytes: Number(bytes) } };
  },
  log: (cursor) => {
    for (;;) {
      if (cursor.skip('prefix', 'level', 'group', 'snaplen', 'queue-threshold')) cursor.name();
      else if (cursor.skip('flags')) skipLogFlags(cursor);
      else return { log: null };
    }
  },
  limit: (cursor) => {
    if (cursor.skip('name')) return { limit: cursor.name() ?? '' };
    if (!cursor.skip('rate')) return undefined;
    cursor.skip('over', 'until');
    const rate = cursor.word(/^\d+/) ?? '';
    if (!rate.includes('/')) cursor.word(/\//);
    if (cursor.skip('burst')) {
      cursor.word(number);
      cursor.word(/^(?:packets|k?m?bytes)$/);
    }
    return { limit: {} };
  },
  quota: (cursor) => {
    if (cursor.skip('name')) return { quota: cursor.name() ?? '' };
    cursor.skip('over', 'until');
    if (cursor.word(number) === undefined || cursor.word(/bytes$/) === undefined) return undefined;
    if (cursor.skip('used') && (cursor.word(number) === undefined || cursor.word(/bytes$/) === undefined))
      return undefined;
    return { quota: {} };
  },
  last: (cursor) => (cursor.skip('used') ? { last: cursor.name() ?? null } : undefined),
  reject: (cursor) => {
    if (!cursor.skip('with')) return { reject: null };
    const type = cursor.word(/^(?:icmp|icmpv6|icmpx|tcp)$/);
    cursor.skip('type');
    return type === undefined || cursor.word(/^[\w-]+$/) === undefined ? undefined : { reject: { type } };
  },
  notrack: () => ({ notrack: null }),
  masquerade: (cursor) => readNat(cursor, 'masquerade'),
  redirect: (cursor) => readNat(cursor, 'redirect'),
  snat: (cursor) => readNat(cursor, 'snat'),
  dnat: (cursor) => readNat(cursor, 'dnat'),
  dup: (cursor) => {
    if (!cursor.skip('to') || readAtom(cursor) === undefined) return undefined;
    if (cursor.skip('device')) cursor.name();
    return { dup: null };
  },
  flow: (cursor) =>
    cursor.skip('add', 'offload') && cursor.word(/^@/) !== undefined ? { flow: { op: 'add' } } : undefined,
  add: (cursor) => readSetStatement(cursor, 'add'),
  update: (cursor) => readSetStatement(cursor, 'update'),
  delete: (cursor) => readSetStatement(cursor, 'delete'),
  xt: (cursor) => {
    const type = cursor.word(/^(?:match|target)$/);
    const name = type === undefined ? undefined : cursor.name();
    return type === undefined || name === undefined ? undefined : { xt: { type, name } };
  },
  ct: (cursor) => {
    if (!cursor.skip('count')) return undefined;
    cursor.skip('over');
    return cursor.word(number) === undefined ? undefined : { 'ct count': {} };
  },
};

/** `tcp sequence,options`, `ip options`, `skuid`, `ether` or `all`. */
function skipLogFlags(cursor: Cursor): void {
  if (!cursor.skip('tcp', 'ip')) {
    cursor.next();
    return;
  }
  do cursor.next();
  while (cursor.skip(','));
}

/** `update @clients { ip saddr timeout 5s limit rate 5/second }`. */
function readSetStatement(cursor: Cursor, op: string): JsonObject | undefined {
  const set = cursor.word(/^@\S+$/);
  if (set === undefined || !cursor.skip('{')) return undefined;
  let depth = 1;
  while (depth > 0) {
    const token = cursor.next();
    if (!token) return undefined;
    if (token.kind === 'sign' && token.text === '{') depth++;
    if (token.kind === 'sign' && token.text === '}') depth--;
  }
  return { set: { op, set } };
}

/** Reads a match, a verdict map, or a statement that changes a field of the packet. */
function readExpressionStatement(cursor: Cursor): JsonObject | undefined {
  const left = readExpression(cursor);
  if (left === undefined) return undefined;
  if (cursor.skip('set')) return readMangle(cursor, left);
  if (cursor.skip('vmap')) {
    const data = readSet(cursor);
    return data === undefined ? undefined : { vmap: { key: left, data } };
  }
  return readMatch(cursor, left);
}

function readMangle(cursor: Cursor, key: JsonValue): JsonObject | undefined {
  const value = isField(cursor) ? readExpression(cursor) : readAtom(cursor);
  if (value === undefined || cursor.isNext('map')) return undefined;
  const helper = textOf(objectOf(objectOf(key)['ct'])['key']);
  // These statements have names of their own in JSON.
  if (/^(?:helper|timeout|expectation)$/.test(helper)) return { [`ct ${helper}`]: value };
  return { mangle: { key, value } };
}

/** `@name` or `{ … }`. */
function readSet(cursor: Cursor): JsonValue | undefined {
  const name = cursor.word(/^@[A-Za-z_]\S*$/);
  if (name !== undefined) return name;
  if (!cursor.skip('{')) return undefined;
  const elements = readElements(cursor);
  return elements && { set: elements };
}

/** The comparisons, and the names that older programs print for them. */
const comparisons: Readonly<Record<string, string>> = {
  '==': '==',
  eq: '==',
  '!=': '!=',
  ne: '!=',
  '!': '!=',
  '<': '<',
  lt: '<',
  '>': '>',
  gt: '>',
  '<=': '<=',
  le: '<=',
  '>=': '>=',
  ge: '>=',
};

function readMatch(cursor: Cursor, left: JsonValue): JsonObject | undefined {
  const word = cursor.peek()?.text ?? '';
  const op = Object.hasOwn(comparisons, word) ? comparisons[word] : undefined;
  if (op !== undefined) cursor.next();
  const set = readSet(cursor);
  if (set !== undefined) return { match: { op: op ?? '==', left, right: set } };
  const right = readFlags(cursor);
  if (right === undefined) return undefined;
  if (!cursor.skip('/')) return { match: { op: op ?? '==', left, right } };
  const mask = readFlags(cursor);
  return mask === undefined ? undefined : { match: { op: op ?? '==', left: { '&': [left, mask] }, right } };
}

/** One value, or several: `established,related` and `established | related`. */
function readFlags(cursor: Cursor): JsonValue | undefined {
  const values: JsonValue[] = [];
  let isSum = false;
  for (;;) {
    const value = readConcatenation(cursor);
    if (value === undefined) return undefined;
    values.push(value);
    isSum ||= cursor.isNext('|');
    if (!cursor.skip(',', '|')) break;
  }
  if (values.length === 1) return values[0];
  return isSum ? { '|': values } : values;
}
