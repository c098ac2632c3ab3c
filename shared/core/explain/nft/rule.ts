import type { Match, Rule, Target } from '../model';
import { fieldOf } from './field';
import { isObject, listOf, objectOf, textOf, unwrapped, type Json, type JsonObject } from './json';
import { matchOf, unknownMatch } from './match';
import { addressSpans, linear, markIn, numberSpan, whole } from './value';

/** One rule; with a verdict map, one for each entry of it. */
export class RuleReader {
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
    else if (kind === 'mangle') this.act(mangle(objectOf(value)), mangleWords(objectOf(value)));
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

const mangleWords = ({ key, value }: JsonObject) =>
  `${fieldOf(key ?? null)[0]} set ${fieldOf(value ?? null)[0]}`;

/** Fields that decide neither the way of a packet nor whether it arrives. */
const harmless = new Set(['dscp', 'ecn']);

/**
 * `meta mark set …`, `ct mark set …`: every value made of marks and constants. What is written into the packet itself is
 * not followed. Other keys change neither.
 */
function mangle({ key, value }: JsonObject): Target[] {
  const { payload } = objectOf(key);
  if (payload) return harmless.has(textOf(objectOf(payload)['field'])) ? [] : [{ kind: 'rewrite' }];
  const of = markIn(key ?? null);
  if (!of) return objectOf(objectOf(key)['ct'])['key'] === 'mark' ? [{ kind: 'unknown' }] : [];
  const made = linear(value ?? null, 0);
  if (!made) return [{ kind: 'unknown' }];
  const { from, mask, xor } = made;
  const flip: Target = { kind: 'mark', of, clear: 0, from: xor, mask: whole };
  if (from === of) return [{ kind: 'mark', of, clear: ~mask >>> 0, from: xor, mask: whole }];
  return [{ kind: 'mark', of, clear: whole, from: from ?? 0, mask }, flip];
}
