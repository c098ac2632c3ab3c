import { definedOnly } from '../../../util/collections';
import { unknownMatch, type Rule, type RuleMatch, type RuleTarget } from '../../model';
import { fullMask } from '../../ranges';
import { parseField } from './field';
import {
  isJsonObject,
  listOf,
  objectOf,
  parseAddressRanges,
  parseMarkExpression,
  parseMarkField,
  parseNumberRange,
  textOf,
  unwrapElement,
  type JsonObject,
  type JsonValue,
  formatExpression,
} from './values';

const nonTerminalStatements = new Set([
  'counter',
  'log',
  'comment',
  'meter',
  'last',
  'secmark',
  'dup',
  'synproxy',
]);

const undecidableStatements = new Set([
  'limit',
  'quota',
  'ct count',
  'ct expectation',
  'connlimit',
  'osf',
  'socket',
  'set',
]);

interface VerdictMapEntry {
  readonly matches: readonly RuleMatch[];
  readonly targets: readonly RuleTarget[];
  readonly label: string;
}

/**
 * Parses one rule of nft. A rule with a verdict map becomes one `Rule` for each entry of the map; other rules become
 * one `Rule`.
 */
export class NftRuleParser {
  private readonly matches: RuleMatch[] = [];
  private readonly targets: RuleTarget[] = [];
  private readonly labels: string[] = [];
  private packets: string | undefined;
  private entries: readonly VerdictMapEntry[] = [{ matches: [], targets: [], label: '' }];

  constructor(private readonly findSet: SetLookup) {}

  rules(number: number, comment: string): Rule[] {
    const suffix = comment === '' ? '' : `comment ${JSON.stringify(comment)}`;
    return this.entries.map((entry) => {
      const matches = [...this.matches, ...entry.matches];
      const labels = [...matches.map(({ text }) => text), ...this.labels, entry.label, suffix];
      const text = labels.filter((label) => label !== '').join(' ');
      const targets = [...this.targets, ...entry.targets];
      return definedOnly({ number, text, matches, targets, packets: this.packets });
    });
  }

  statement(statement: JsonObject): void {
    const [kind = '', value = null] = Object.entries(statement)[0] ?? [];
    const verdict = parseVerdict(statement);
    if (verdict) this.addTargets(verdict.targets, verdict.label);
    else if (kind === 'match') this.addMatches(parseMatch(objectOf(value), this.findSet));
    else if (kind === 'vmap') this.entries = this.parseVerdictMap(objectOf(value));
    else if (kind === 'mangle') this.addTargets(parseMangle(objectOf(value)), mangleLabel(objectOf(value)));
    else if (kind === 'xt') this.addExtension(objectOf(value));
    else if (kind === 'unreadable') this.addUnreadable(objectOf(value));
    else if (nonTerminalStatements.has(kind)) this.addNonTerminal(kind, value);
    else if (undecidableStatements.has(kind))
      this.addMatches([unknownMatch(kind, 'cannot be decided from a dump')]);
    else this.addTargets([parseNatStatement(kind, value)], kind);
  }

  private addNonTerminal(kind: string, value: JsonValue): void {
    this.labels.push(kind);
    const { packets } = objectOf(value);
    if (kind === 'counter' && typeof packets === 'number') this.packets = String(packets);
  }

  private addMatches(matches: readonly RuleMatch[]): void {
    // A match after a target would test a packet that the target has already changed, so the result is unknown.
    if (this.targets.length > 0) this.targets.push({ kind: 'unknown' });
    else this.matches.push(...matches);
  }

  private addTargets(targets: readonly RuleTarget[], label: string): void {
    this.targets.push(...targets);
    this.labels.push(label);
  }

  /** Parses an iptables extension in a table that was written by iptables-nft. nft prints only the extension's name. */
  private addExtension(extension: JsonObject): void {
    const name = textOf(extension['name']);
    const label = `xt ${name}`;
    if (extension['type'] === 'match') {
      if (name !== 'comment')
        this.addMatches([unknownMatch(label, 'nft does not print its options, but iptables-save does')]);
    } else if (name === 'MASQUERADE') this.addTargets([{ kind: 'masquerade' }], label);
    else if (name === 'LOG' || name === 'NFLOG') this.labels.push(label);
    else this.addTargets([{ kind: 'unknown' }], label);
  }

  /** Adds a part of nft's text with an unknown meaning. */
  private addUnreadable({ text, part }: JsonObject): void {
    const label = textOf(text);
    if (part !== 'target') this.addMatches([unknownMatch(label, 'its text does not show what it does')]);
    if (part !== 'match') this.addTargets([{ kind: 'unknown' }], part === 'target' ? label : '');
  }

  private parseVerdictMap({ key = null, data = null }: JsonObject): readonly VerdictMapEntry[] {
    const elements = isJsonObject(data) ? data['set'] : this.findSet(textOf(data).slice(1))?.['elem'];
    return listOf(elements).map((element) => {
      const [left = null, right = null] = listOf(element);
      const matches = parseMatch({ op: '==', left: key, right: unwrapElement(left) }, this.findSet);
      const verdict = parseVerdict(objectOf(right));
      return verdict
        ? { matches, targets: verdict.targets, label: verdict.label }
        : { matches, targets: [{ kind: 'unknown' }], label: 'unknown verdict' };
    });
  }
}

interface Verdict {
  readonly targets: readonly RuleTarget[];
  readonly label: string;
}

function parseVerdict(statement: JsonObject): Verdict | undefined {
  const [kind = '', value = null] = Object.entries(statement)[0] ?? [];
  switch (kind) {
    case 'accept':
    case 'drop':
    case 'return':
      return { targets: [{ kind }], label: kind };
    case 'reject':
      return { targets: [{ kind: 'drop' }], label: kind };
    case 'continue':
      return { targets: [], label: kind };
    case 'jump':
    case 'goto': {
      const chain = textOf(objectOf(value)['target']);
      return { targets: [{ kind, chain }], label: `${kind} ${chain}` };
    }
    default:
      return undefined;
  }
}

function parseNatStatement(kind: string, value: JsonValue): RuleTarget {
  switch (kind) {
    case 'masquerade':
    case 'redirect':
    case 'notrack':
      return { kind };
    case 'snat': {
      const to = parseAddressRanges(objectOf(value)['addr'] ?? null);
      return { kind, family: to?.family ?? 4, ranges: to?.ranges ?? [] };
    }
    case 'dnat':
      return parseDnat(objectOf(value));
    default:
      return { kind: 'unknown' };
  }
}

function parseDnat({ addr, port }: JsonObject): RuleTarget {
  const to = addr === undefined ? undefined : parseAddressRanges(addr);
  if (addr !== undefined && !to) return { kind: 'unknown' };
  const anyPort = { first: 0, last: 65535 };
  const ports = port === undefined ? undefined : (parseNumberRange(port) ?? anyPort);
  return { kind: 'dnat', addresses: to?.ranges, ports };
}

const mangleLabel = ({ key = null, value = null }: JsonObject) =>
  `${parseField(key).label} set ${parseField(value).label}`;

/** Fields that affect neither the packet's path nor its delivery. */
const ignoredFields = new Set(['dscp', 'ecn']);

/**
 * Parses `meta mark set …` and `ct mark set …`, whose values may combine marks and constants. Other `meta` and `ct`
 * keys do not affect masquerading. Writes to other parts of the packet are not simulated.
 */
function parseMangle({ key = null, value = null }: JsonObject): RuleTarget[] {
  const { payload } = objectOf(key);
  if (payload) return ignoredFields.has(textOf(objectOf(payload)['field'])) ? [] : [{ kind: 'rewrite' }];
  const field = parseMarkField(key);
  if (!field) return [];
  const expression = parseMarkExpression(value);
  if (!expression) return [{ kind: 'unknown' }];
  const { from, mask, xor } = expression;
  const xorTarget: RuleTarget = { kind: 'mark', field, clear: 0, from: xor, mask: fullMask };
  if (from === field) return [{ ...xorTarget, clear: ~mask >>> 0 }];
  return [{ kind: 'mark', field, clear: fullMask, from: from ?? 0, mask }, xorTarget];
}

/** Looks up a named set or map of the table. */
export type SetLookup = (name: string) => JsonObject | undefined;

/**
 * @returns the match, preceded by the matches that nft implies: `ip saddr` implies IPv4, and `tcp dport` implies TCP
 */
export function parseMatch({ op, left, right }: JsonObject, findSet: SetLookup): RuleMatch[] {
  const isNegated = op === '!=';
  const values = valuesOf(right ?? null, findSet);
  const { label, parser } = parseField(left ?? null);
  const operator = op === '==' || op === 'in' ? [] : [textOf(op)];
  const text = [label, ...operator, formatExpression(right ?? null)].join(' ');
  const unsupported = unknownMatch(text, 'unsupported match');
  if (!values || typeof op !== 'string') return [unsupported];
  const fields = listOf(objectOf(left)['concat']);
  if (fields.length > 0) {
    const alternatives = values.map((value) => parseConcatenation(fields, value, findSet));
    // Implied matches are not negated: `tcp dport != …` never matches UDP.
    const implied = fields.flatMap((field) => parseField(field).parser?.implied ?? []);
    return [...implied, { kind: 'any', alternatives, isNegated, text }];
  }
  if (!parser) return [unsupported];
  const condition = parser.parse(comparisonToRange(op, values));
  return [...parser.implied, condition ? { ...condition, isNegated, text } : unsupported];
}

function parseConcatenation(
  fields: readonly JsonValue[],
  value: JsonValue,
  findSet: SetLookup,
): readonly RuleMatch[] {
  const parts = listOf(objectOf(value)['concat']);
  return fields.flatMap((left, index) =>
    parseMatch({ op: '==', left, right: parts[index] ?? null }, findSet),
  );
}

/** `<`, `>`, `<=`, `>=` as ranges. */
function comparisonToRange(op: string, values: readonly JsonValue[]): readonly JsonValue[] {
  const [value] = values;
  if (typeof value !== 'number') return values;
  switch (op) {
    case '<':
      return [{ range: [0, value - 1] }];
    case '<=':
      return [{ range: [0, value] }];
    case '>':
      return [{ range: [value + 1, fullMask] }];
    case '>=':
      return [{ range: [value, fullMask] }];
    default:
      return values;
  }
}

/**
 * Returns the values on the right side of a match, including the elements of sets. Undefined if the dump does not
 * contain the values.
 */
function valuesOf(right: JsonValue, findSet: SetLookup): readonly JsonValue[] | undefined {
  if (typeof right === 'string' && right.startsWith('@')) {
    const set = findSet(right.slice(1));
    const flags = listOf(set?.['flags']);
    return set && !flags.includes('dynamic') && !flags.includes('timeout')
      ? listOf(set['elem']).map(unwrapElement)
      : undefined;
  }
  if (Array.isArray(right)) return right as readonly JsonValue[];
  const { set } = objectOf(right);
  return set === undefined ? [right] : listOf(set).map(unwrapElement);
}
