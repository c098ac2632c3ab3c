import { parseIpAddress } from '../../../ranges';
import type { JsonObject, JsonValue } from '../values';
import type { Cursor } from './tokens';

const payloadProtocols =
  /^(?:ip6?|tcp|udp|udplite|sctp|dccp|th|icmp|icmpv6|igmp|ether|vlan|arp|esp|ah|comp)$/;
/** The words with which a field starts. */
const fieldStart = /^(?:meta|ct|fib|numgen|rt)$/;
/** The keys of `meta` that nft prints without the word. */
const bareMetaKeys =
  /^(?:mark|iif|oif|iifname|oifname|iiftype|oiftype|iifgroup|oifgroup|skuid|skgid|nftrace|rtclassid|ibrname|obrname|ibriport|obriport|pkttype|cpu|cgroup)$/;
const key = /^[a-z][\w-]*$/;

/** Reads the left side of a match: a field, or fields with dots between them, and what is computed from it. */
export function readExpression(cursor: Cursor): JsonValue | undefined {
  const first = readField(cursor);
  if (first === undefined) return undefined;
  if (!cursor.isNext('.')) return readOperations(cursor, first);
  const fields = [first];
  while (cursor.skip('.')) {
    const field = readField(cursor);
    if (field === undefined) return undefined;
    fields.push(field);
  }
  return { concat: fields };
}

function readField(cursor: Cursor): JsonObject | undefined {
  const word = cursor.word(key);
  if (word === undefined) return undefined;
  if (word === 'meta') return keyed(cursor, (name) => ({ meta: { key: name } }));
  if (bareMetaKeys.test(word)) return { meta: { key: word } };
  if (word === 'ct') return readConntrackField(cursor);
  if (word === 'fib') return readFib(cursor);
  if (word === 'numgen') return readNumgen(cursor);
  if (word === 'rt') return keyed(cursor, (name) => ({ rt: { key: name } }));
  if (word === 'tcp' && cursor.skip('option')) return readTcpOption(cursor);
  if (!payloadProtocols.test(word)) return undefined;
  return keyed(cursor, (field) => (field === 'option' ? undefined : { payload: { protocol: word, field } }));
}

function keyed(cursor: Cursor, build: (name: string) => JsonObject | undefined): JsonObject | undefined {
  const name = cursor.word(key);
  return name === undefined ? undefined : build(name);
}

function readConntrackField(cursor: Cursor): JsonObject | undefined {
  const dir = cursor.word(/^(?:original|reply)$/);
  const family = dir === undefined ? undefined : cursor.word(/^ip6?$/);
  const name = cursor.word(key);
  if (name === undefined) return undefined;
  const fullName = family === undefined ? name : `${family} ${name}`;
  return { ct: dir === undefined ? { key: fullName } : { key: fullName, dir } };
}

function readFib(cursor: Cursor): JsonObject | undefined {
  const flags = [cursor.word(key)];
  while (cursor.skip('.')) flags.push(cursor.word(key));
  const result = cursor.word(key);
  const names = flags.filter((flag) => flag !== undefined);
  return result === undefined || names.length < flags.length ? undefined : { fib: { result, flags: names } };
}

function readNumgen(cursor: Cursor): JsonObject | undefined {
  const mode = cursor.word(/^(?:inc|random)$/);
  const mod = cursor.skip('mod') ? cursor.word(/^\d+$/) : undefined;
  const offset = cursor.skip('offset') ? cursor.word(/^\d+$/) : '0';
  if (mode === undefined || mod === undefined || offset === undefined) return undefined;
  return { numgen: { mode, mod: Number(mod), offset: Number(offset) } };
}

function readTcpOption(cursor: Cursor): JsonObject | undefined {
  const name = cursor.word(/^[a-z\d-]+$/);
  if (name === undefined) return undefined;
  const field = cursor.word(/^(?:size|kind|length|left|right|count|tsval|tsecr)$/);
  return { 'tcp option': field === undefined ? { name } : { name, field } };
}

/** The operators, those that bind tightest first. */
const operators: readonly (readonly [sign: string, ...words: string[]])[] = [
  ['&', 'and'],
  ['^', 'xor'],
  ['|', 'or'],
];

function readOperations(cursor: Cursor, left: JsonValue): JsonValue | undefined {
  let result = left;
  let weakest = 0;
  for (;;) {
    const level = operators.findIndex((names) => names.some((name) => cursor.isNext(name)));
    const [sign] = operators[level] ?? [];
    if (sign === undefined) return result;
    // nft prints no parentheses here, and a later operator that binds tighter would not apply to the result so far.
    if (level < weakest) return undefined;
    weakest = level;
    cursor.next();
    const right = readOperand(cursor);
    if (right === undefined) return undefined;
    result = { [sign]: [result, right] };
  }
}

function readOperand(cursor: Cursor): JsonValue | undefined {
  if (!cursor.skip('(')) return readAtom(cursor);
  const flags: JsonValue[] = [];
  do {
    const flag = readAtom(cursor);
    if (flag === undefined) return undefined;
    flags.push(flag);
  } while (cursor.skip('|'));
  return cursor.skip(')') ? flags : undefined;
}

/** Whether a field follows, and not a value. */
export function isField(cursor: Cursor): boolean {
  const { kind, text = '' } = cursor.peek() ?? {};
  return kind === 'word' && (fieldStart.test(text) || bareMetaKeys.test(text) || payloadProtocols.test(text));
}

/** Reads one value: an address, a network, a range, a number, a name or a string. */
export function readAtom(cursor: Cursor): JsonValue | undefined {
  const token = cursor.peek();
  if (token?.kind === 'string') {
    cursor.next();
    if (!cursor.skip('-')) return token.text;
    const last = cursor.peek();
    if (last?.kind !== 'string') return undefined;
    cursor.next();
    return { range: [token.text, last.text] };
  }
  if (token?.kind !== 'word' || notAValue.test(token.text)) return undefined;
  cursor.next();
  return parseAtom(token.text);
}

/** Signs, words that start another part of the rule, and text that was cut. */
const notAValue = new RegExp(
  [
    String.raw`^(?:[.:]$|[=!<>|&^#/-])|(?:…|\.\.\.)$`,
    '^(?:meta|ct|fib|rt|numgen|jhash|symhash|socket|exthdr|osf|xt)$',
    '^(?:accept|drop|return|continue|jump|goto|queue|reject|masquerade|redirect|notrack)$',
    '^(?:counter|log|limit|quota|set|vmap|map|comment)$',
  ].join('|'),
);

function parseAtom(text: string): JsonValue {
  if (/^(?:\d{1,10}|0x[\da-f]{1,8})$/i.test(text)) return Number(text);
  const [, address = '', length] = /^([\da-f.:]+)\/(\d{1,3})$/i.exec(text) ?? [];
  if (length !== undefined && parseIpAddress(address))
    return { prefix: { addr: address, len: Number(length) } };
  const [first = '', last, ...more] = text.split('-');
  if (last === undefined || more.length > 0 || !(isBound(first) && isBound(last))) return text;
  return { range: [parseAtom(first), parseAtom(last)] };
}

const isBound = (text: string): boolean =>
  /^(?:\d{1,10}|0x[\da-f]{1,8})$/i.test(text) || parseIpAddress(text) !== undefined;

/** Reads values with dots between them. */
export function readConcatenation(cursor: Cursor): JsonValue | undefined {
  const values: JsonValue[] = [];
  do {
    const value = readAtom(cursor);
    if (value === undefined) return undefined;
    values.push(value);
  } while (cursor.skip('.'));
  return values.length === 1 ? values[0] : { concat: values };
}
