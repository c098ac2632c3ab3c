import type { Plugin } from 'esbuild';
import { replaceModules } from './replace-modules';

/** A file and the members that others read while loading; using any other member is an error. */
type ExcludedModule = readonly [file: string, readWhileLoading?: readonly string[]];

/** Compute Engine is REST only, and has its own operations, roles and locations. */
const excludedModules: readonly ExcludedModule[] = [
  ['@grpc/grpc-js/build/src/index.js'],
  ['google-gax/build/src/grpc.js', ['GrpcClient']],
  ['google-gax/build/src/operationsClient.js', ['SERVICE_ADDRESS', 'ALL_SCOPES']],
  ['google-gax/build/src/iamService.js'],
  ['google-gax/build/src/locationService.js'],
  ['google-gax/build/src/resumableUpload.js'],
  ['google-gax/build/protos/operations.js'],
  ['google-gax/build/protos/iam_service.js'],
  ['google-gax/build/protos/locations.js'],
  // node-fetch needs it in runtimes without web streams; Node has them since 18.
  ['web-streams-polyfill/dist/ponyfill.es2018.js'],
];

/**
 * Google's client loads many modules that it never uses here (google-gax: build/src/index.js and fallback.js). Using
 * one of them throws an error that names it.
 */
export const excludeModules: Plugin = replaceModules(
  'exclude-modules',
  excludedModules.map(([file]) => file),
  (_, file) => ({
    contents: throwingStub(file, excludedModules.find(([one]) => one === file)?.[1] ?? []),
    loader: 'js',
  }),
);

function throwingStub(file: string, readWhileLoading: readonly string[]): string {
  const names = JSON.stringify(['__esModule', ...readWhileLoading]);
  return `
    const known = ${names};
    module.exports = new Proxy({ __esModule: true }, {
      get(target, name) {
        if (known.includes(name)) return target[name];
        throw new Error('${file} was left out of the bundle (infra/bundle/excluded-modules.ts): ' + String(name));
      },
    });`;
}
