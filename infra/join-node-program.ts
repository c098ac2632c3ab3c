import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** The sections of the node program, from the root of the repository. */
export const nodeProgramSections = 'shared/node/src';

/** The node program as it is deployed: its sections in the order of their names, a blank line between two. */
export function joinNodeProgram(root = '.'): string {
  const folder = join(root, nodeProgramSections);
  const names = readdirSync(folder).filter((name) => name.endsWith('.bash'));
  return names
    .sort()
    .map((name) => readFileSync(join(folder, name), 'utf8'))
    .join('\n');
}
