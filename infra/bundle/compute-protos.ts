import { readFileSync } from 'node:fs';
import type { Plugin } from 'esbuild';
import { replaceModules } from './replace-modules';
import { pruneProtos, type Descriptor } from './prune-protos';

type Methods = Readonly<Record<string, readonly string[]>>;

/**
 * Every client of @google-cloud/compute loads the descriptor of the whole API (12 MB), hashes it and builds
 * 10,000 types from it, which takes most of a cold start.
 */
export const computeProtos = (methods: Methods): Plugin =>
  replaceModules('compute-protos', ['@google-cloud/compute/build/protos/protos.json'], (path) => ({
    contents: JSON.stringify(pruneComputeProtos(readFileSync(path, 'utf8'), methods)),
    loader: 'json',
  }));

/** @param text protos.json of @google-cloud/compute */
export function pruneComputeProtos(text: string, methods: Methods): Descriptor {
  return pruneProtos(
    JSON.parse(text) as Descriptor,
    'google.cloud.compute.v1',
    methods,
    // Used by operations on a whole project, such as setCommonInstanceMetadata, which peermasq never waits for.
    ['Status.details'],
  );
}
