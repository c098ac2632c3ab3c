import { isNonEmpty, type NonEmpty } from '../../util/collections';
import type { Backend, Family } from '../model';
import type { MissingPart } from '../snapshot';
import { iptablesTables } from '../tables';
import type { Variant } from './header';
import { backendOf, type TableText } from './table-text';

/** What a dump shows of the rules for one address family. */
export interface ShownRules {
  readonly family: Family;
  readonly tables: readonly TableText[];
  /** The backends of which all tables are shown, or shown to be absent. `native` stands for nft's own tables. */
  readonly complete: ReadonlySet<Variant | 'native'>;
}

/** Returns the tables that the dump neither shows nor shows to be absent. */
export function missingTables({ family, tables, complete }: ShownRules): MissingPart[] {
  const own = tables.filter((table) => table.family === family);
  const unnamed = own.filter(({ program }) => program.variant === undefined);
  const parts = (['nft', 'legacy'] as const).flatMap((variant) => {
    const ofVariant = own.filter(({ program }) => program.variant === variant);
    if (isNonEmpty(ofVariant)) return missingFrom(ofVariant, { isComplete: complete.has(variant) });
    return complete.has(variant) || unnamed.length > 0 ? [] : [wholeBackend(family, `iptables-${variant}`)];
  });
  if (isNonEmpty(unnamed)) {
    parts.push(...missingFrom(unnamed, { isComplete: false }));
    const areBothShown = hasTableTwice(own) || (complete.has('nft') && complete.has('legacy'));
    if (!areBothShown) parts.push(wholeBackend(family, 'iptables'));
  }
  return complete.has('native') ? parts : [...parts, wholeBackend(family, 'nft')];
}

const wholeBackend = (family: Family, backend: Backend): MissingPart => ({
  kind: 'tables',
  family,
  backend,
  names: undefined,
  fragments: [],
});

/** Returns the other tables of a backend of which some are shown. */
function missingFrom(shown: NonEmpty<TableText>, { isComplete }: { isComplete: boolean }): MissingPart[] {
  const [{ family, program }] = shown;
  const fragments = namesOf(shown.filter(({ isFragment }) => isFragment));
  const showsAll = isComplete || shown.some(({ showsAllTables }) => showsAllTables);
  const known = namesOf(shown);
  const names = iptablesTables.filter((name) => (known.has(name) ? fragments.has(name) : !showsAll));
  if (names.length === 0) return [];
  return [{ kind: 'tables', family, backend: backendOf(program), names, fragments: [...fragments] }];
}

const namesOf = (tables: readonly TableText[]) => new Set(tables.map(({ name }) => name));

/** Whether a table is shown twice, which means that it is shown for both backends. */
const hasTableTwice = (tables: readonly TableText[]) => namesOf(tables).size < tables.length;
