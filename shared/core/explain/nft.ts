import { readAddress, spanOf } from './address';
import { protocolTest } from './options';
import {
  type Base,
  type Chain,
  DumpError,
  type Family,
  type Hook,
  type MarkOf,
  type Match,
  type Rule,
  type Span,
  type Table,
  type Target,
  type Test,
} from './model';

type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
type JsonObject = Readonly<Record<string, Json>>;

const isObject = (value: Json | undefined): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const objectOf = (value: Json | undefined): JsonObject => (isObject(value) ? value : {});
const listOf = (value: Json | undefined): readonly Json[] =>
  Array.isArray(value) ? (value as readonly Json[]) : [];
const wordOf = (value: Json | undefined): string =>
  typeof value === 'string' ? value : JSON.stringify(value ?? null);
const textOf = (value: Json | undefined): string => (typeof value === 'string' ? value : '');

const families: Readonly<Record<string, readonly Family[]>> = { ip: [4], ip6: [6], inet: [4, 6] };
const hooks: ReadonlySet<string> = new Set<Hook>(['prerouting', 'forward', 'output', 'postrouting']);
const isHook = (name: string): name is Hook => hooks.has(name);

/** Expressions inside expressions; nft itself prints no more. */
const maxDepth = 12;

/**
 * Reads what `nft -j list ruleset` prints: tables of the families ip, ip6 and inet.
 * @param at the line on which it begins
 */
export function readNft(text: string, at: number): Base[] {
  let parsed: Json;
  try {
    parsed = JSON.parse(text) as Json;
  } catch (cause) {
    throw new DumpError(at, text.slice(-80), 'the whole JSON that nft -j list ruleset prints', cause);
  }
  const objects = objectOf(parsed)['nftables'];
  if (!Array.isArray(objects))
    throw new DumpError(at, text, 'JSON with a list "nftables", as nft -j list ruleset prints it');
  return new Ruleset(listOf(objects).map(objectOf), at).bases();
}

class Ruleset {
  private readonly tables = new Map<string, Table>();
  private readonly sets = new Map<string, JsonObject>();
  private readonly found: Base[] = [];

  constructor(objects: readonly JsonObject[], at: number) {
    for (const { table } of objects) if (isObject(table)) this.addTable(table);
    for (const { chain } of objects) if (isObject(chain)) this.addChain(chain);
    for (const { set, map } of objects) {
      const named = objectOf(set ?? map);
      this.sets.set(`${tableKey(named)} ${textOf(named['name'])}`, named);
    }
    for (const { rule } of objects) if (isObject(rule)) this.addRule(rule, at);
  }

  bases(): Base[] {
    return this.found;
  }

  private addTable(table: JsonObject): void {
    const family = textOf(table['family']);
    const of = Object.hasOwn(families, family) ? families[family] : undefined;
    if (!of) return;
    if (table['flags'] === 'dormant' || listOf(table['flags']).includes('dormant')) return;
    const name = `${family} ${textOf(table['name'])}`;
    this.tables.set(name, { backend: 'nft', name, families: of, chains: new Map() });
  }

  private addChain(json: JsonObject): void {
    const table = this.tables.get(tableKey(json));
    if (!table) return;
    const chain: Chain = { name: textOf(json['name']), rules: [] };
    table.chains.set(chain.name, chain);
    const hook = textOf(json['hook']);
    if (!isHook(hook)) return;
    this.found.push({
      ...{ table, chain, hook, isNat: json['type'] === 'nat' },
      priority: Number(json['prio'] ?? 0),
      policy: json['policy'] === 'drop' ? 'drop' : 'accept',
    });
  }

  private addRule(json: JsonObject, at: number): void {
    const table = this.tables.get(tableKey(json));
    if (!table) return;
    const chain = table.chains.get(textOf(json['chain']));
    if (!chain)
      throw new DumpError(at, textOf(json['chain']), `a chain of table ${table.name} that the same JSON has`);
    const number = (chain.rules.at(-1)?.number ?? 0) + 1;
    const reader = new RuleReader((name) => this.sets.get(`${table.name} ${name}`));
    for (const statement of listOf(json['expr'])) reader.statement(objectOf(statement));
    for (const rule of reader.rules(number, textOf(json['comment']))) {
      checkTargets(rule, table, at);
      chain.rules.push(rule);
    }
  }
}

const tableKey = (json: JsonObject) => `${textOf(json['family'])} ${textOf(json['table'])}`;

function checkTargets({ targets, text }: Rule, table: Table, at: number): void {
  for (const target of targets) {
    if ((target.kind === 'jump' || target.kind === 'goto') && !table.chains.has(target.chain)) {
      throw new DumpError(at, text, `a chain of table ${table.name} that the same JSON has`);
    }
  }
}

/** One rule; with a verdict map, one for each entry of it. */
class RuleReader {
  private readonly matches: Match[] = [];
  private readonly targets: Target[] = [];
  private readonly words: string[] = [];
  private entries: { matches: readonly Match[]; target: Target | undefined; word: string }[] | undefined;

  constructor(private readonly setNamed: (name: string) => JsonObject | undefined) {}

  rules(number: number, comment: string): Rule[] {
    const tail = comment === '' ? [] : [`comment ${JSON.stringify(comment)}`];
    const make = (matches: readonly Match[], targets: readonly Target[], words: readonly string[]): Rule => ({
      ...{ number, matches, targets },
      text: [...matches.map(({ text }) => text), ...words, ...tail].filter((word) => word !== '').join(' '),
    });
    if (!this.entries) return [make(this.matches, this.targets, this.words)];
    return this.entries.map(({ matches, target, word }) =>
      make(
        [...this.matches, ...matches],
        [...this.targets, ...(target ? [target] : [])],
        [...this.words, word],
      ),
    );
  }

  statement(statement: JsonObject): void {
    const [kind = '', value = null] = Object.entries(statement)[0] ?? [];
    const verdict = verdictOf(statement);
    if (verdict) this.act(verdict.target ? [verdict.target] : [], verdict.word);
    else if (kind === 'match') this.ask(matchOf(objectOf(value), this.setNamed));
    else if (kind === 'vmap') this.entries = this.vmap(objectOf(value));
    else if (kind === 'mangle') this.act(mangle(objectOf(value)), 'mark set');
    else if (kind === 'xt') this.xt(objectOf(value));
    else if (goesOn.has(kind)) this.words.push(kind);
    else if (asks.has(kind)) this.ask([unknownMatch(kind, 'only the packet itself would tell')]);
    else this.act([translationOf(kind, value)], kind);
  }

  private ask(matches: readonly Match[]): void {
    // What comes after a change would look at what was changed.
    if (this.targets.length > 0) this.targets.push({ kind: 'unknown' });
    else this.matches.push(...matches);
  }

  private act(targets: readonly Target[], word: string): void {
    this.targets.push(...targets);
    this.words.push(word);
  }

  /** Extensions of iptables in a table that iptables-nft wrote: nft prints no more than their names. */
  private xt(value: JsonObject): void {
    const name = textOf(value['name']);
    if (value['type'] === 'match') {
      if (name !== 'comment')
        this.ask([unknownMatch(`xt ${name}`, 'nft does not print it; iptables-save tells more')]);
    } else if (name === 'MASQUERADE') this.act([{ kind: 'masquerade' }], 'xt MASQUERADE');
    else if (name === 'LOG' || name === 'NFLOG') this.words.push(`xt ${name}`);
    else this.act([{ kind: 'unknown' }], `xt ${name}`);
  }

  private vmap({ key, data }: JsonObject): NonNullable<RuleReader['entries']> {
    const entries = isObject(data)
      ? listOf(data['set'])
      : listOf(this.setNamed(textOf(data).slice(1))?.['elem']);
    return entries.map((entry) => {
      const [left = null, right] = listOf(entry);
      const verdict = verdictOf(objectOf(right));
      const word = verdict?.word ?? 'unknown verdict';
      return {
        matches: matchOf({ op: '==', left: key ?? null, right: unwrapped(left) }, this.setNamed),
        target: verdict ? verdict.target : { kind: 'unknown' },
        word,
      };
    });
  }
}

const goesOn = new Set(['counter', 'log', 'comment', 'meter', 'last', 'secmark', 'dup', 'synproxy']);
const asks = new Set(['limit', 'quota', 'ct count', 'ct expectation', 'connlimit', 'osf', 'socket', 'set']);

function verdictOf(statement: JsonObject): { target: Target | undefined; word: string } | undefined {
  const [kind = '', value = null] = Object.entries(statement)[0] ?? [];
  const chain = textOf(objectOf(value)['target']);
  switch (kind) {
    case 'accept':
    case 'drop':
    case 'return':
      return { target: { kind }, word: kind };
    case 'reject':
      return { target: { kind: 'drop' }, word: kind };
    case 'continue':
      return { target: undefined, word: kind };
    case 'jump':
    case 'goto':
      return { target: { kind, chain }, word: `${kind} ${chain}` };
    default:
      return undefined;
  }
}

function translationOf(kind: string, value: Json): Target {
  const { addr, port } = objectOf(value);
  const spans = addr === undefined ? undefined : addressSpans(addr);
  const ports = port === undefined ? undefined : numberSpan(port);
  switch (kind) {
    case 'masquerade':
    case 'redirect':
    case 'notrack':
      return { kind };
    case 'snat':
      return { kind, family: spans?.family ?? 4, spans: spans?.spans ?? [] };
    case 'dnat':
      return addr !== undefined && !spans
        ? { kind: 'unknown' }
        : {
            kind,
            addresses: spans?.spans,
            ports: ports ?? (port === undefined ? undefined : { first: 0, last: 65535 }),
          };
    default:
      return { kind: 'unknown' };
  }
}

/** `meta mark set …`, `ct mark set …`: every value made of marks and constants. Other keys change no mark. */
function mangle({ key, value }: JsonObject): Target[] {
  const of = markIn(key ?? null);
  if (!of) return objectOf(objectOf(key)['ct'])['key'] === 'mark' ? [{ kind: 'unknown' }] : [];
  const made = linear(value ?? null, 0);
  if (!made) return [{ kind: 'unknown' }];
  const { from, mask, xor } = made;
  const flip: Target = { kind: 'mark', of, clear: 0, from: xor, mask: whole };
  if (from === of) return [{ kind: 'mark', of, clear: ~mask >>> 0, from: xor, mask: whole }];
  return [{ kind: 'mark', of, clear: whole, from: from ?? 0, mask }, flip];
}

const whole = 0xffffffff;

function markIn(key: Json): MarkOf | undefined {
  const { meta, ct } = objectOf(key);
  if (objectOf(meta)['key'] === 'mark') return 'packet';
  return objectOf(ct)['key'] === 'mark' ? 'connection' : undefined;
}

interface Linear {
  readonly from: MarkOf | undefined;
  readonly mask: number;
  readonly xor: number;
}

/** (from & mask) ^ xor */
function linear(value: Json, depth: number): Linear | undefined {
  if (typeof value === 'number') return { from: undefined, mask: 0, xor: value >>> 0 };
  const from = markIn(value);
  if (from) return { from, mask: whole, xor: 0 };
  const [operator, operands] = Object.entries(objectOf(value))[0] ?? [];
  const [left = null, right] = listOf(operands);
  if (typeof right !== 'number' || depth > maxDepth) return undefined;
  const inner = linear(left, depth + 1);
  if (!inner) return undefined;
  switch (operator) {
    case '&':
      return { from: inner.from, mask: (inner.mask & right) >>> 0, xor: (inner.xor & right) >>> 0 };
    case '|':
      return {
        from: inner.from,
        mask: (inner.mask & ~right) >>> 0,
        xor: ((inner.xor & ~right) | right) >>> 0,
      };
    case '^':
      return { from: inner.from, mask: inner.mask, xor: (inner.xor ^ right) >>> 0 };
    default:
      return undefined;
  }
}

const unknownMatch = (text: string, why: string): Match => ({ kind: 'unknown', why, negated: false, text });

type SetNamed = (name: string) => JsonObject | undefined;

/** The test, and before it what nft takes for granted: `ip saddr` asks for IPv4, `tcp dport` for TCP. */
function matchOf({ op, left, right }: JsonObject, setNamed: SetNamed): Match[] {
  const negated = op === '!=';
  const values = valuesOf(right ?? null, setNamed, 0);
  const [names, field] = fieldOf(left ?? null);
  const text = [names, ...(negated ? ['!='] : []), short(right ?? null)].join(' ');
  const unknown = unknownMatch(text, 'this match is not known here');
  if (!values || typeof op !== 'string') return [unknown];
  const concatenated = listOf(objectOf(left)['concat']);
  if (concatenated.length > 0) {
    // Outside the negation: `tcp dport != …` says nothing of UDP.
    const asked = concatenated.flatMap((part) => fieldOf(part)[1]?.needs ?? []);
    return [...asked, concatenation(concatenated, values, negated, text, setNamed)];
  }
  if (!field) return [unknown];
  const test = field.test(compared(op, values));
  return [...field.needs, test ? { ...test, negated, text } : unknown];
}

/** `<`, `>`, `<=`, `>=` as ranges. */
function compared(op: string, values: readonly Json[]): readonly Json[] {
  const [value] = values;
  if (typeof value !== 'number') return values;
  const ranges: Readonly<Record<string, readonly [number, number]>> = {
    '<': [0, value - 1],
    '<=': [0, value],
    '>': [value + 1, whole],
    '>=': [value, whole],
  };
  const range = Object.hasOwn(ranges, op) ? ranges[op] : undefined;
  return range ? [{ range }] : values;
}

function concatenation(
  lefts: readonly Json[],
  values: readonly Json[],
  negated: boolean,
  text: string,
  setNamed: SetNamed,
): Match {
  const alternatives = values.map((value) => {
    const parts = listOf(objectOf(value)['concat']);
    return lefts.flatMap((left, index) => matchOf({ op: '==', left, right: parts[index] ?? null }, setNamed));
  });
  return { kind: 'any', alternatives, negated, text };
}

const short = (value: Json): string => {
  const { prefix, range, set } = objectOf(value);
  if (prefix) return `${textOf(objectOf(prefix)['addr'])}/${wordOf(objectOf(prefix)['len'])}`;
  if (range) return listOf(range).map(wordOf).join('-');
  const text = set
    ? `{ ${listOf(set)
        .slice(0, 8)
        .map((one) => (isObject(one) ? short(one) : wordOf(one)))
        .join(', ')} }`
    : typeof value === 'object'
      ? JSON.stringify(value)
      : String(value);
  return text.length > 200 ? `${text.slice(0, 197)}...` : text;
};

const unwrapped = (value: Json): Json => objectOf(objectOf(value)['elem'])['val'] ?? value;

/** The values on the right of a match, those of sets one by one; undefined where they are not known. */
function valuesOf(right: Json, setNamed: SetNamed, depth: number): readonly Json[] | undefined {
  if (depth > maxDepth) return undefined;
  if (typeof right === 'string' && right.startsWith('@')) {
    const set = setNamed(right.slice(1));
    const flags = listOf(set?.['flags']);
    return set && !flags.includes('dynamic') && !flags.includes('timeout')
      ? listOf(set['elem']).map(unwrapped)
      : undefined;
  }
  if (Array.isArray(right)) return right as readonly Json[];
  const { set } = objectOf(right);
  return set === undefined ? [right] : listOf(set).map(unwrapped);
}

interface Field {
  readonly needs: readonly Match[];
  readonly test: (values: readonly Json[]) => Test | undefined;
}

const needs = (test: Test, text: string): Match => ({ ...test, negated: false, text });
/** What nft does not print has no text. */
const isIpv = (family: Family): Match => needs({ kind: 'family', family }, '');

/** The words for the left side of a match, and how values are compared with it. */
function fieldOf(left: Json): [string, Field | undefined] {
  const { payload, meta, ct, fib } = objectOf(left);
  if (payload) return payloadField(textOf(objectOf(payload)['protocol']), textOf(objectOf(payload)['field']));
  if (meta) return metaField(textOf(objectOf(meta)['key']));
  if (ct) return ctField(textOf(objectOf(ct)['key']), textOf(objectOf(ct)['dir']));
  if (fib) return fibField(objectOf(fib));
  const masked = linear(left, 0);
  if (masked?.from && masked.xor === 0) return markField(masked.from, masked.mask);
  return [short(left), undefined];
}

function payloadField(protocol: string, name: string): [string, Field | undefined] {
  const words = `${protocol} ${name}`;
  const side = { saddr: 'source', daddr: 'destination', sport: 'source', dport: 'destination' }[name] as
    'source' | 'destination' | undefined;
  const family = { ip: 4, ip6: 6 }[protocol] as Family | undefined;
  if (family && side) return [words, addressField(side, family)];
  if (family && (name === 'protocol' || name === 'nexthdr'))
    return [words, { ...protocolField, needs: [isIpv(family)] }];
  if (!side || !['tcp', 'udp', 'th'].includes(protocol)) return [words, undefined];
  const carrier = protocol === 'th' ? undefined : protocolTest(protocol);
  return [
    words,
    {
      needs: carrier ? [needs(carrier, '')] : [],
      test: (values) => {
        const spans = values.map(numberSpan);
        return spans.every((span) => span !== undefined) ? { kind: 'port', of: side, spans } : undefined;
      },
    },
  ];
}

const addressField = (of: 'source' | 'destination', family: Family): Field => ({
  needs: [isIpv(family)],
  test: (values) => {
    const spans = values.map(addressSpans);
    if (!spans.every((span) => span?.family === family)) return undefined;
    return { kind: 'address', of, family, spans: spans.flatMap((span) => span?.spans ?? []) };
  },
});

const protocolField: Field = {
  needs: [],
  test: (values) => {
    const tests = values.map((value) => protocolTest(wordOf(value)));
    const spans = tests.flatMap((test) => (test?.kind === 'protocol' ? test.spans : []));
    return spans.length === values.length ? { kind: 'protocol', spans } : undefined;
  },
};

function metaField(key: string): [string, Field | undefined] {
  switch (key) {
    case 'iifname':
    case 'iif':
    case 'oifname':
    case 'oif':
      return [key, interfaceField(key.startsWith('i') ? 'in' : 'out')];
    case 'l4proto':
      return ['meta l4proto', protocolField];
    case 'nfproto':
    case 'protocol':
      return [`meta ${key}`, { needs: [], test: familyTest }];
    case 'mark':
      return markField('packet', whole);
    default:
      return [`meta ${key}`, undefined];
  }
}

const interfaceField = (of: 'in' | 'out'): Field => ({
  needs: [],
  test: (values) => ({
    kind: 'interface',
    of,
    names: values.map((name) => wordOf(name).replace(/\*$/, '+')),
  }),
});

function familyTest(values: readonly Json[]): Test | undefined {
  const families = values.map(
    (value) => ({ ipv4: 4, ip: 4, ipv6: 6, ip6: 6 })[wordOf(value)] as Family | undefined,
  );
  const [family, ...others] = families;
  return family && others.length === 0 ? { kind: 'family', family } : undefined;
}

function markField(of: MarkOf, mask: number): [string, Field] {
  const test = (values: readonly Json[]): Test | undefined => {
    const spans = values.map(numberSpan);
    return spans.every((span) => span !== undefined) ? { kind: 'mark', of, mask, spans } : undefined;
  };
  const words = of === 'packet' ? 'meta mark' : 'ct mark';
  return [mask === whole ? words : `${words} & 0x${mask.toString(16)}`, { needs: [], test }];
}

function ctField(key: string, direction: string): [string, Field | undefined] {
  const words = ['ct', direction, key].filter((word) => word !== '').join(' ');
  const names = (values: readonly Json[]) => values.map((value) => wordOf(value).toUpperCase());
  switch (key) {
    case 'mark':
      return markField('connection', whole);
    case 'state':
      return [words, { needs: [], test: (values) => ({ kind: 'state', states: names(values) }) }];
    case 'status':
      return [words, { needs: [], test: statusTest }];
    case 'direction':
      return [
        words,
        { needs: [], test: (values) => ({ kind: 'constant', answer: names(values).includes('ORIGINAL') }) },
      ];
    default:
      return [words, undefined];
  }
}

/** Of a first packet only translation is known. */
function statusTest(values: readonly Json[]): Test | undefined {
  return values.length === 1 && values[0] === 'dnat' ? { kind: 'state', states: ['DNAT'] } : undefined;
}

function fibField({ flags, result }: JsonObject): [string, Field | undefined] {
  const names = typeof flags === 'string' ? [flags] : listOf(flags).map(textOf);
  const words = `fib ${names.join(' . ')} ${textOf(result)}`;
  const of = names.includes('daddr') ? 'destination' : 'source';
  if (result !== 'type' || names.includes('mark')) return [words, undefined];
  const on = names.includes('iif') ? 'in' : names.includes('oif') ? 'out' : undefined;
  const test = (values: readonly Json[]): Test => ({
    ...{ kind: 'addrtype', of, types: values.map((value) => wordOf(value).toUpperCase()) },
    ...(on && { on }),
  });
  return [words, { needs: [], test }];
}

function numberSpan(value: Json): Span<number> | undefined {
  if (typeof value === 'number') return { first: value, last: value };
  const [first, last] = listOf(objectOf(value)['range']);
  return typeof first === 'number' && typeof last === 'number' ? { first, last } : undefined;
}

function addressSpans(value: Json): { family: Family; spans: readonly Span[] } | undefined {
  const { prefix, range } = objectOf(value);
  if (prefix) {
    const read = readAddress(textOf(objectOf(prefix)['addr']));
    const length = Number(objectOf(prefix)['len']);
    const isLength =
      read && Number.isInteger(length) && length >= 0 && length <= (read.family === 4 ? 32 : 128);
    return isLength ? { family: read.family, spans: [spanOf(read.family, read.address, length)] } : undefined;
  }
  const [from = value, to = from] = listOf(range);
  const first = readAddress(textOf(from));
  const last = readAddress(textOf(to));
  if (!first || first.family !== last?.family) return undefined;
  return { family: first.family, spans: [{ first: first.address, last: last.address }] };
}
