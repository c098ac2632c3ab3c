import type { RuleMatch, Rule, RuleTarget } from '../../model';
import { parseField } from './field';
import {
  isJsonObject,
  listOf,
  objectOf,
  textOf,
  unwrapElement,
  type JsonValue,
  type JsonObject,
} from './json';
import { parseMatch, unknownMatch } from './match';
import { parseAddressRanges, parseMarkExpression, parseMarkKey, parseNumberRange, fullMask } from './value';

/** One rule; with a verdict map, one for each entry of it. */
export class NftRuleParser {
  private readonly matches: RuleMatch[] = [];
  private readonly targets: RuleTarget[] = [];
  private readonly labels: string[] = [];
  private entries:
    { matches: readonly RuleMatch[]; target: RuleTarget | undefined; label: string }[] | undefined;

  constructor(private readonly findSet: (name: string) => JsonObject | undefined) {}

  rules(number: number, comment: string): Rule[] {
    const tail = comment === '' ? [] : [`comment ${JSON.stringify(comment)}`];
    const make = (
      matches: readonly RuleMatch[],
      targets: readonly RuleTarget[],
      labels: readonly string[],
    ): Rule => ({
      ...{ number, matches, targets },
      text: [...matches.map(({ text }) => text), ...labels, ...tail]
        .filter((label) => label !== '')
        .join(' '),
    });
    if (!this.entries) return [make(this.matches, this.targets, this.labels)];
    return this.entries.map(({ matches, target, label }) =>
      make(
        [...this.matches, ...matches],
        [...this.targets, ...(target ? [target] : [])],
        [...this.labels, label],
      ),
    );
  }

  statement(statement: JsonObject): void {
    const [kind = '', value = null] = Object.entries(statement)[0] ?? [];
    const verdict = parseVerdict(statement);
    if (verdict) this.addTargets(verdict.target ? [verdict.target] : [], verdict.label);
    else if (kind === 'match') this.addMatches(parseMatch(objectOf(value), this.findSet));
    else if (kind === 'vmap') this.entries = this.parseVerdictMap(objectOf(value));
    else if (kind === 'mangle') this.addTargets(parseMangle(objectOf(value)), mangleLabel(objectOf(value)));
    else if (kind === 'xt') this.addExtension(objectOf(value));
    else if (nonTerminalStatements.has(kind)) this.labels.push(kind);
    else if (undecidableStatements.has(kind))
      this.addMatches([unknownMatch(kind, 'only the packet itself would tell')]);
    else this.addTargets([parseNatStatement(kind, value)], kind);
  }

  private addMatches(matches: readonly RuleMatch[]): void {
    // What comes after a change would look at what was changed.
    if (this.targets.length > 0) this.targets.push({ kind: 'unknown' });
    else this.matches.push(...matches);
  }

  private addTargets(targets: readonly RuleTarget[], label: string): void {
    this.targets.push(...targets);
    this.labels.push(label);
  }

  /** Extensions of iptables in a table that iptables-nft wrote: nft prints no more than their names. */
  private addExtension(value: JsonObject): void {
    const name = textOf(value['name']);
    if (value['type'] === 'match') {
      if (name !== 'comment')
        this.addMatches([unknownMatch(`xt ${name}`, 'nft does not print it; iptables-save tells more')]);
    } else if (name === 'MASQUERADE') this.addTargets([{ kind: 'masquerade' }], 'xt MASQUERADE');
    else if (name === 'LOG' || name === 'NFLOG') this.labels.push(`xt ${name}`);
    else this.addTargets([{ kind: 'unknown' }], `xt ${name}`);
  }

  private parseVerdictMap({ key, data }: JsonObject): NonNullable<NftRuleParser['entries']> {
    const entries = isJsonObject(data)
      ? listOf(data['set'])
      : listOf(this.findSet(textOf(data).slice(1))?.['elem']);
    return entries.map((entry) => {
      const [left = null, right] = listOf(entry);
      const verdict = parseVerdict(objectOf(right));
      const label = verdict?.label ?? 'unknown verdict';
      return {
        matches: parseMatch({ op: '==', left: key ?? null, right: unwrapElement(left) }, this.findSet),
        target: verdict ? verdict.target : { kind: 'unknown' },
        label,
      };
    });
  }
}

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

function parseVerdict(statement: JsonObject): { target: RuleTarget | undefined; label: string } | undefined {
  const [kind = '', value = null] = Object.entries(statement)[0] ?? [];
  const chain = textOf(objectOf(value)['target']);
  switch (kind) {
    case 'accept':
    case 'drop':
    case 'return':
      return { target: { kind }, label: kind };
    case 'reject':
      return { target: { kind: 'drop' }, label: kind };
    case 'continue':
      return { target: undefined, label: kind };
    case 'jump':
    case 'goto':
      return { target: { kind, chain }, label: `${kind} ${chain}` };
    default:
      return undefined;
  }
}

function parseNatStatement(kind: string, value: JsonValue): RuleTarget {
  const { addr, port } = objectOf(value);
  const ranges = addr === undefined ? undefined : parseAddressRanges(addr);
  const ports = port === undefined ? undefined : parseNumberRange(port);
  switch (kind) {
    case 'masquerade':
    case 'redirect':
    case 'notrack':
      return { kind };
    case 'snat':
      return { kind, family: ranges?.family ?? 4, ranges: ranges?.ranges ?? [] };
    case 'dnat':
      return addr !== undefined && !ranges
        ? { kind: 'unknown' }
        : {
            kind,
            addresses: ranges?.ranges,
            ports: ports ?? (port === undefined ? undefined : { first: 0, last: 65535 }),
          };
    default:
      return { kind: 'unknown' };
  }
}

const mangleLabel = ({ key, value }: JsonObject) =>
  `${parseField(key ?? null)[0]} set ${parseField(value ?? null)[0]}`;

/** Fields that decide neither the way of a packet nor whether it arrives. */
const ignoredFields = new Set(['dscp', 'ecn']);

/**
 * `meta mark set …`, `ct mark set …`: every value made of marks and constants. What is written into the packet itself is
 * not followed. Other keys change neither.
 */
function parseMangle({ key, value }: JsonObject): RuleTarget[] {
  const { payload } = objectOf(key);
  if (payload) return ignoredFields.has(textOf(objectOf(payload)['field'])) ? [] : [{ kind: 'rewrite' }];
  const of = parseMarkKey(key ?? null);
  if (!of) return objectOf(objectOf(key)['ct'])['key'] === 'mark' ? [{ kind: 'unknown' }] : [];
  const expression = parseMarkExpression(value ?? null, 0);
  if (!expression) return [{ kind: 'unknown' }];
  const { from, mask, xor } = expression;
  const xorTarget: RuleTarget = { kind: 'mark', of, clear: 0, from: xor, mask: fullMask };
  if (from === of) return [{ kind: 'mark', of, clear: ~mask >>> 0, from: xor, mask: fullMask }];
  return [{ kind: 'mark', of, clear: fullMask, from: from ?? 0, mask }, xorTarget];
}
