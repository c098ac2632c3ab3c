import { bitsOf } from './address';
import { type AddressSet, DumpError, type Family } from './model';

interface Made {
  readonly name: string;
  readonly type: string;
  readonly family: Family;
  readonly prefix: number;
  readonly entries: { text: string; isExcluded: boolean }[];
}

/** Reads what `ipset save` prints. */
export class SetReader {
  private readonly made = new Map<string, Made>();

  /** Takes `create NAME TYPE …` and `add NAME ENTRY …`. */
  line(text: string, at: number): void {
    const [verb, name = '', ...words] = text.trim().split(/\s+/);
    if (verb === 'create') {
      this.made.set(name, create(name, words));
      return;
    }
    const [entry] = words;
    const set = this.made.get(name);
    if (!set || entry === undefined)
      throw new DumpError(at, text, '"add" with a set that "create" names before, and an entry');
    set.entries.push({ text: entry, isExcluded: words.includes('nomatch') });
  }

  sets(): ReadonlyMap<string, AddressSet> {
    return this.made;
  }
}

function create(name: string, [type = '', ...words]: readonly string[]): Made {
  const family = words[words.indexOf('family') + 1] === 'inet6' ? 6 : 4;
  const netmask = words.includes('netmask') ? Number(words[words.indexOf('netmask') + 1]) : NaN;
  const prefix = netmask >= 0 && netmask <= bitsOf(family) ? netmask : bitsOf(family);
  return { name, type, family, prefix, entries: [] };
}
