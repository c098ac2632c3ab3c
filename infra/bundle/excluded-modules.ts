import type { Plugin } from 'esbuild';
import { replaceModules } from './replace-modules';

/** A file, and what others read of it while they load; all else that they ask of it is an error. */
type ExcludedModule = readonly [file: string, readWhileLoading?: readonly string[]];

/** Compute Engine speaks REST alone, and has operations, roles and locations of its own. */
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
  // node-fetch asks for it where the runtime has no web streams; Node has had them since 18.
  ['web-streams-polyfill/dist/ponyfill.es2018.js'],
];

/**
 * Google's client loads much that it never uses here (google-gax: build/src/index.js and fallback.js). Whoever does
 * use something of it gets an error that says so.
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
