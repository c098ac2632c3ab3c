import { readFileSync } from 'node:fs';
import type { Plugin } from 'esbuild';
import { replaceModules } from './replace-modules';
import { pruneProtos, type Descriptor } from './prune-protos';

type Methods = Readonly<Record<string, readonly string[]>>;

/**
 * Prunes the API descriptor of @google-cloud/compute. Every client loads the whole descriptor (12 MB), hashes it and
 * builds 10,000 types from it, which takes most of the time of a cold start.
 */
export const computeProtos = (methods: Methods): Plugin =>
  replaceModules('compute-protos', ['@google-cloud/compute/build/protos/protos.json'], (path) => ({
    contents: JSON.stringify(pruneComputeProtos(readFileSync(path, 'utf8'), methods)),
    loader: 'json',
  }));

/** @param text the content of protos.json in @google-cloud/compute */
export function pruneComputeProtos(text: string, methods: Methods): Descriptor {
  return pruneProtos(
    JSON.parse(text) as Descriptor,
    'google.cloud.compute.v1',
    methods,
    // This field is used only by operations on a whole project, such as setCommonInstanceMetadata. peermasq never
    // waits for these operations.
    ['Status.details'],
  );
}
