import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { joinNodeProgram } from './join-node-program';

/** Writes the joined node program to the given file, for shellcheck. */
const [, , file] = process.argv;
if (file === undefined) throw new Error('Usage: npx tsx infra/write-node-program.ts FILE');
mkdirSync(dirname(file), { recursive: true });
writeFileSync(file, joinNodeProgram());
