import { addressBits } from '../address';
import { type AddressSet, DumpError, type Family } from '../model';

interface ParsedSet {
  readonly name: string;
  readonly type: string;
  readonly family: Family;
  readonly prefix: number;
  readonly entries: { text: string; isExcluded: boolean }[];
}

/** Reads what `ipset save` prints. */
export class SetParser {
  private readonly setsByName = new Map<string, ParsedSet>();

  /** Takes `create NAME TYPE …` and `add NAME ENTRY …`. */
  line(text: string, at: number): void {
    const [verb, name = '', ...tokens] = text.trim().split(/\s+/);
    if (verb === 'create') {
      this.setsByName.set(name, parseCreate(name, tokens));
      return;
    }
    const [entry] = tokens;
    const set = this.setsByName.get(name);
    if (!set || entry === undefined)
      throw new DumpError(at, text, '"add" with a set that "create" names before, and an entry');
    set.entries.push({ text: entry, isExcluded: tokens.includes('nomatch') });
  }

  sets(): ReadonlyMap<string, AddressSet> {
    return this.setsByName;
  }
}

function parseCreate(name: string, [type = '', ...tokens]: readonly string[]): ParsedSet {
  const family = tokens[tokens.indexOf('family') + 1] === 'inet6' ? 6 : 4;
  const netmask = tokens.includes('netmask') ? Number(tokens[tokens.indexOf('netmask') + 1]) : NaN;
  const prefix = netmask >= 0 && netmask <= addressBits(family) ? netmask : addressBits(family);
  return { name, type, family, prefix, entries: [] };
}
