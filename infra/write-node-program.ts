import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { joinSections } from './join-node-program';

/** Writes the joined sections of the node program to the given file, for shellcheck. */
const [, , file] = process.argv;
if (file === undefined) throw new Error('Usage: npx tsx infra/write-node-program.ts FILE');
mkdirSync(dirname(file), { recursive: true });
writeFileSync(file, joinSections());
