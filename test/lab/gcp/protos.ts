import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { computeMethodsOfCli } from '../../../infra/bundle/compute-methods';
import { pruneComputeProtos } from '../../../infra/bundle/compute-protos';
import type { Descriptor } from '../../../infra/bundle/prune-protos';

/**
 * The pruned protos.json that the command line's bundle contains. jest.config.js replaces the client's protos.json with
 * this module. Pruning 12 MB takes half a second in each test file that loads it, so the result is cached on disk.
 */
export const { nested } = keptProtos();

function keptProtos(): Descriptor {
  const client = require.resolve('@google-cloud/compute/package.json');
  const hash = createHash('sha256').update(readFileSync(client)).update(JSON.stringify(computeMethodsOfCli));
  for (const file of ['compute-protos.ts', 'prune-protos.ts'])
    hash.update(readFileSync(join(__dirname, '../../../infra/bundle', file)));
  const folder = join(__dirname, '../../../node_modules/.cache/compute-protos');
  const file = join(folder, `${hash.digest('hex')}.json`);
  if (existsSync(file)) return JSON.parse(readFileSync(file, 'utf8')) as Descriptor;
  const whole = readFileSync(require.resolve('@google-cloud/compute/build/protos/protos.json'), 'utf8');
  const pruned = pruneComputeProtos(whole, computeMethodsOfCli);
  mkdirSync(folder, { recursive: true });
  const written = join(folder, `.${process.pid}`);
  writeFileSync(written, JSON.stringify(pruned));
  renameSync(written, file);
  return pruned;
}
