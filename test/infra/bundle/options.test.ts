import { beforeAll, describe, expect, test } from '@jest/globals';
import { build, type BuildOptions, type Metafile } from 'esbuild';
import { awsBundle, cliBundle, gcpBundle } from '../../../infra/bundle/options';
import { computeMethods } from '../../../infra/bundle/compute-methods';
import { clientCommandsUsed } from './client-usage';

type Input = readonly [file: string, bytes: number];

/** Returns the input files of each output file, with the number of bytes that each contributes. */
async function inputsOf(options: BuildOptions): Promise<Map<string, Input[]>> {
  const outputs = await outputsOf(options);
  return new Map(Object.entries(outputs).map(([output, { inputs }]) => [output, inputsIn(inputs)]));
}

async function outputsOf(options: BuildOptions): Promise<Metafile['outputs']> {
  return (await build({ ...options, write: false, metafile: true })).metafile.outputs;
}

const inputsIn = (inputs: Metafile['outputs'][string]['inputs']): Input[] =>
  Object.entries(inputs)
    .filter(([, { bytesInOutput }]) => bytesInOutput > 0)
    .map(([file, { bytesInOutput }]) => [file.replace(/^.*node_modules\//, ''), bytesInOutput]);

const bytesOf = (inputs: readonly Input[], of = /./) =>
  inputs.filter(([file]) => of.test(file)).reduce((sum, [, bytes]) => sum + bytes, 0);
const namesOf = (inputs: readonly Input[], part: RegExp) =>
  inputs.flatMap(([file]) => part.exec(file)?.[1] ?? []).sort();

describe('dist/gcp/index.js', () => {
  test('contains only the Compute Engine clients that are used, contains no gRPC, and stays small', async () => {
    const inputs = (await inputsOf(gcpBundle)).get('dist/gcp/index.js') ?? [];
    const snake = (service: string) => service.replaceAll(/(?!^)[A-Z]/g, '_$&').toLowerCase();
    expect(namesOf(inputs, /compute\/build\/src\/v1\/(\w+)_client\.js$/)).toEqual(
      Object.keys(computeMethods).map(snake),
    );
    expect(bytesOf(inputs, /protos\.json$/)).toBeLessThan(100_000);
    // The bundle contains only stubs of these packages, which throw an error that the package is excluded.
    expect(bytesOf(inputs, /^(@grpc|@js-sdsl|web-streams-polyfill)\//)).toBeLessThan(1_000);
    expect(bytesOf(inputs, /^google-gax\/build\/protos\/.*\.js$/)).toBeLessThan(2_000);
    expect(bytesOf(inputs)).toBeLessThan(1_800_000);
  });
});

describe('dist/aws', () => {
  let outputs: Map<string, Input[]>;
  beforeAll(async () => {
    outputs = await inputsOf(awsBundle);
  }, 30_000);
  const sent = clientCommandsUsed('shared/aws');

  test.each(awsBundle.entryPoints.map(({ out }) => out))('%s.js stays small', (name) => {
    const inputs = outputs.get(`dist/aws/${name}.js`) ?? [];
    const clients = new Set(namesOf(inputs, /^@aws-sdk\/client-([\w-]+)\//));
    expect(clients).toEqual(new Set(sent.map(([client]) => client)));
    expect(bytesOf(inputs, /^@aws-sdk\/client-ec2\/dist-es\/schemas/)).toBeLessThan(100_000);
    expect(bytesOf(inputs)).toBeLessThan(1_450_000);
  });

  test('contains only the SDK commands that are used', () => {
    const commands = namesOf(
      [...outputs.values()].flat(),
      /^@aws-sdk\/client-[\w-]+\/dist-es\/commands\/(\w+)\.js$/,
    );
    expect(new Set(commands)).toEqual(new Set(sent.map(([, command]) => command)));
  });
});

test('starting dist/cli/peermasq.mjs loads no cloud client', async () => {
  const outputs = await outputsOf(cliBundle);
  const read = new Set(['dist/cli/peermasq.mjs']);
  for (const output of read) {
    const imports = outputs[output]?.imports ?? [];
    for (const { path, kind } of imports) if (kind === 'import-statement' && path in outputs) read.add(path);
  }
  const inputs = [...read].flatMap((output) => inputsIn(outputs[output]?.inputs ?? {}));
  expect(namesOf(inputs, /^(@aws-sdk|@google-cloud|google-gax)\//)).toEqual([]);
  expect(bytesOf(inputs)).toBeLessThan(1_000_000);
}, 30_000);

test('the build fails if a file that it should replace is not in the bundle', async () => {
  const { plugins } = awsBundle;
  const stdin = { contents: 'export {}', resolveDir: process.cwd() };
  await expect(build({ stdin, write: false, plugins, logLevel: 'silent' })).rejects.toThrow(
    'client-ec2/dist-es/schemas/schemas_0.js is no longer in this bundle',
  );
});
