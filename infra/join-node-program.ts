import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** The folder with the sections of the node program, relative to the root of the repository. */
export const nodeProgramSections = 'shared/node/src';

/** Joins the sections in the order of their names, with a blank line between sections. */
export function joinSections(root = '.'): string {
  const folder = join(root, nodeProgramSections);
  const names = readdirSync(folder).filter((name) => name.endsWith('.bash'));
  return names
    .sort()
    .map((name) => readFileSync(join(folder, name), 'utf8'))
    .join('\n');
}

/**
 * Returns the node program as it is deployed, without the comments below its header. Comments are a quarter of the
 * program, which has to fit in an SSM document (64 KB).
 */
export function joinNodeProgram(root = '.'): string {
  const lines = joinSections(root).split('\n');
  const headerEnd = lines.findIndex((line) => !line.startsWith('#'));
  return lines
    .filter((line, index) => index < headerEnd || !/^ *#/.test(line))
    .join('\n')
    .replaceAll(/\n{3,}/g, '\n\n');
}

/**
 * Returns the functions of the script that `peermasq collect` prints. The node program prints its snapshot with the same
 * functions.
 */
export const collectFunctions = (root = '.'): string =>
  readFileSync(join(root, nodeProgramSections, '79-collect.bash'), 'utf8');
