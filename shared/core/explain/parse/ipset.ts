import { itemAfter } from '../../util/collections';
import { DumpError, type Family } from '../model';
import { addressBits, parsePortRange, parseRange, protocolNumber, singleRange } from '../ranges';
import type { AddressSet, SetEntry, SetEntryPart } from '../snapshot';

/** An ipset declared by a `create` line, with the entries of the `add` lines read so far. */
interface DeclaredSet {
  readonly isList: boolean;
  /** The type of each part of an entry, such as `net` or `port`. */
  readonly dimensions: readonly string[];
  readonly family: Family | undefined;
  readonly prefix: number;
  readonly members: string[];
  readonly entries: SetEntry[];
}

/** Parses the output of `ipset save`. */
export class SetParser {
  private readonly setsByName = new Map<string, DeclaredSet>();

  /** @param text `create NAME TYPE …` or `add NAME ENTRY …` */
  line(text: string, lineNumber: number): void {
    const [verb, name = '', ...tokens] = text.trim().split(/\s+/);
    if (verb === 'create') {
      this.setsByName.set(name, parseCreate(tokens));
      return;
    }
    const [entry] = tokens;
    const set = this.setsByName.get(name);
    if (!set || entry === undefined)
      throw new DumpError({
        line: lineNumber,
        found: text,
        expected: '"add" with an entry, after "create" for the same set',
      });
    if (set.isList) set.members.push(entry);
    else set.entries.push(parseEntry(tokens, set.dimensions));
  }

  sets(): ReadonlyMap<string, AddressSet> {
    return new Map([...this.setsByName].map(([name, set]) => [name, toAddressSet(set)]));
  }
}

function parseCreate([type = '', ...options]: readonly string[]): DeclaredSet {
  const family = itemAfter(options, 'family') === 'inet6' ? 6 : 4;
  const netmask = Number(itemAfter(options, 'netmask') ?? NaN);
  const [, dimensions = ''] = type.split(':');
  return {
    isList: type === 'list:set',
    dimensions: dimensions.split(','),
    family: type === 'bitmap:port' ? undefined : family,
    prefix: netmask >= 0 && netmask <= addressBits(family) ? netmask : addressBits(family),
    members: [],
    entries: [],
  };
}

function toAddressSet({ isList, dimensions, family, prefix, members, entries }: DeclaredSet): AddressSet {
  if (isList) return { kind: 'list', members };
  const hasManyNetworks = dimensions.filter((dimension) => dimension === 'net').length > 1;
  return { kind: 'entries', family, prefix, dimensions: dimensions.length, hasManyNetworks, entries };
}

function parseEntry([text = '', ...options]: readonly string[], dimensions: readonly string[]): SetEntry {
  const texts = text.split(',');
  const network = texts.find((part) => part.includes('/'));
  return {
    isExcluded: options.includes('nomatch'),
    prefix: Number(network?.split('/')[1] ?? 128),
    parts: dimensions.map((dimension, index) => parsePart(dimension, texts[index] ?? '')),
  };
}

function parsePart(dimension: string, text: string): SetEntryPart {
  switch (dimension) {
    case 'ip':
    case 'net': {
      const parsed = parseRange(text);
      return parsed ? { kind: 'address', family: parsed.family, range: parsed.range } : { kind: 'unknown' };
    }
    case 'port':
      return parsePortPart(text);
    case 'iface':
      // The name after `physdev:` is a bridge port. Routes name only the bridge, so the value is unknown.
      return text.startsWith('physdev:') ? { kind: 'unknown' } : { kind: 'interface', name: text };
    default:
      return { kind: 'unknown' };
  }
}

/** `443`, `tcp:443` or `icmp:echo-request`. */
function parsePortPart(text: string): SetEntryPart {
  const [left = '', right] = text.split(':');
  if (right === undefined) return { kind: 'port', protocols: undefined, ports: parsePortRange(left) };
  const number = protocolNumber(left);
  const protocols = number === undefined ? [] : [singleRange(number)];
  return { kind: 'port', protocols, ports: parsePortRange(right) };
}
