import type { Plugin } from 'esbuild';
import { replaceModules } from './replace-modules';

/** A file, and the members that other modules read while they load. Using any other member throws an error. */
type ExcludedModule = readonly [file: string, readWhileLoading?: readonly string[]];

/**
 * Modules that peermasq does not need, because Compute Engine uses only REST and has its own operations, roles and
 * locations.
 */
const googleModules: readonly ExcludedModule[] = [
  ['@grpc/grpc-js/build/src/index.js'],
  ['google-gax/build/src/grpc.js', ['GrpcClient']],
  ['google-gax/build/src/operationsClient.js', ['SERVICE_ADDRESS', 'ALL_SCOPES']],
  ['google-gax/build/src/iamService.js'],
  ['google-gax/build/src/locationService.js'],
  ['google-gax/build/src/resumableUpload.js'],
  ['google-gax/build/protos/operations.js'],
  ['google-gax/build/protos/iam_service.js'],
  ['google-gax/build/protos/locations.js'],
  // node-fetch needs this module only in runtimes without web streams. Node.js has had web streams since version 18.
  ['web-streams-polyfill/dist/ponyfill.es2018.js'],
];

/** Lambda passes credentials in environment variables, so functions need no support for profiles. */
const awsModules: readonly ExcludedModule[] = [['@aws-sdk/credential-provider-ini/dist-es/index.js']];

/**
 * Excludes modules that Google's client loads but that peermasq never uses (google-gax: build/src/index.js and
 * fallback.js). Using an excluded module throws an error that names the module.
 */
export const excludeGoogleModules: Plugin = excludeModules('exclude-google-modules', googleModules);

export const excludeAwsModules: Plugin = excludeModules('exclude-aws-modules', awsModules);

function excludeModules(name: string, modules: readonly ExcludedModule[]): Plugin {
  const members = new Map(modules.map(([file, readWhileLoading = []]) => [file, readWhileLoading]));
  return replaceModules(name, [...members.keys()], (_, file) => ({
    contents: throwingStub(file, members.get(file) ?? []),
    loader: 'js',
  }));
}

function throwingStub(file: string, readWhileLoading: readonly string[]): string {
  const names = JSON.stringify(['__esModule', ...readWhileLoading]);
  return `
    const known = ${names};
    module.exports = new Proxy({ __esModule: true }, {
      get(target, name) {
        if (known.includes(name)) return target[name];
        throw new Error('${file} is excluded from the bundle (infra/bundle/excluded-modules.ts): ' + String(name));
      },
    });`;
}
