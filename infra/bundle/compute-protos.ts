import { readFileSync } from 'node:fs';
import type { Plugin } from 'esbuild';
import { computeMethods } from './compute-methods';
import { onlyWhereMet } from './plugin';
import { pruneProtos, type Descriptor } from './prune-protos';

/**
 * Every client of @google-cloud/compute loads the descriptor of the whole API (12 MB), hashes it and builds
 * 10,000 types of it, which takes most of a cold start.
 */
export const computeProtos: Plugin = onlyWhereMet(
  'compute-protos',
  ['@google-cloud/compute/build/protos/protos.json'],
  (path) => ({ contents: JSON.stringify(pruneComputeProtos(readFileSync(path, 'utf8'))), loader: 'json' }),
);

/** @param text protos.json of @google-cloud/compute */
export function pruneComputeProtos(text: string): Descriptor {
  return pruneProtos(
    JSON.parse(text) as Descriptor,
    'google.cloud.compute.v1',
    computeMethods,
    // Of operations on a whole project, such as setCommonInstanceMetadata; peermasq waits for its own alone.
    ['Status.details'],
  );
}
