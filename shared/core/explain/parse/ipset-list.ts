import type { Line } from './input';

interface ListedSet {
  readonly name: string;
  readonly line: number;
  readonly type: string;
  readonly options: string;
  /** Undefined in versions that do not print the number. */
  readonly size: number | undefined;
  /** Undefined if the listing has no members, as with `-terse`. */
  readonly members: readonly Line[] | undefined;
}

/**
 * Returns the output of `ipset list` as `ipset save` prints it. A set whose members are not all shown is left out, so
 * that matches against it are unknown.
 */
export function savedSets(lines: readonly Line[]): Line[] {
  return readSets(lines).flatMap(({ name, line, type, options, size, members }) => {
    if (!members || members.length < (size ?? 0)) return [];
    return [
      { text: `create ${name} ${type} ${options}`, number: line },
      ...members.map(({ text, number }) => ({ text: `add ${name} ${text.trim()}`, number })),
    ];
  });
}

function readSets(lines: readonly Line[]): ListedSet[] {
  const sets: ListedSet[] = [];
  let members: Line[] | undefined;
  for (const line of lines) {
    const { text, number } = line;
    const [, key, value = ''] = /^\s*([A-Z][a-z]+(?: [a-z]+)*):\s*(.*)$/.exec(text) ?? [];
    const last = sets.at(-1);
    if (key === 'Name') {
      members = undefined;
      sets.push({ name: value, line: number, type: '', options: '', size: undefined, members });
    } else if (key !== undefined && last) {
      if (key === 'Members') members = [];
      sets.splice(-1, 1, { ...last, ...fieldOf(key, value), members });
    } else if (members && text.trim() !== '') members.push(line);
  }
  return sets;
}

function fieldOf(key: string, value: string): Partial<ListedSet> {
  switch (key) {
    case 'Type':
      return { type: value };
    case 'Header':
      return { options: value };
    case 'Number of entries':
      return { size: Number(value) };
    default:
      return {};
  }
}
