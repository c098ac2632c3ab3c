import { isNonEmpty, type NonEmpty } from '../../util/collections';
import type { Backend, Family } from '../model';
import { iptablesTables } from '../simulate/missing';
import type { MissingPart } from '../snapshot';
import type { Variant } from './header';
import { backendOf, type TableText } from './table-text';

/** What a dump shows of the rules for one address family. */
export interface ShownRules {
  readonly family: Family;
  readonly tables: readonly TableText[];
  /** The backends of iptables of which all tables are shown, or shown to be absent. */
  readonly complete: ReadonlySet<Variant>;
  /** Whether nft's own tables are shown, or shown to be absent. */
  readonly isNftComplete: boolean;
}

/** Returns the tables that the dump neither shows nor shows to be absent. */
export function missingTables({ family, tables, complete, isNftComplete }: ShownRules): MissingPart[] {
  const own = tables.filter((table) => table.family === family);
  const missing: MissingPart[] = [];
  const addBackend = (backend: Backend) =>
    missing.push({ kind: 'tables', family, backend, names: undefined, fragments: [] });
  const addTables = (shown: NonEmpty<TableText>) => {
    const [{ program }] = shown;
    const names = namesWithout(shown);
    const fragments = names.filter((name) => shown.some((table) => table.name === name));
    if (names.length > 0)
      missing.push({ kind: 'tables', family, backend: backendOf(program), names, fragments });
  };
  for (const variant of ['nft', 'legacy'] as const) {
    const ofVariant = own.filter(({ program }) => program.variant === variant);
    if (complete.has(variant)) continue;
    if (isNonEmpty(ofVariant)) addTables(ofVariant);
    else if (!own.some(isUnnamed)) addBackend(`iptables-${variant}`);
  }
  const unnamed = own.filter(isUnnamed);
  if (isNonEmpty(unnamed)) {
    addTables(unnamed);
    if (!hasBothBackends(own) && complete.size < 2) addBackend('iptables');
  }
  if (!isNftComplete) addBackend('nft');
  return missing;
}

const isUnnamed = ({ program }: TableText) => program.variant === undefined;

/** Returns the names of the tables that are not among those shown in full. */
const namesWithout = (tables: readonly TableText[]): string[] =>
  iptablesTables.filter((name) => !tables.some((table) => table.name === name && !table.isFragment));

/** Whether a table is shown twice, which means that it is shown for both backends. */
const hasBothBackends = (tables: readonly TableText[]) =>
  new Set(tables.map(({ name }) => name)).size < tables.length;
