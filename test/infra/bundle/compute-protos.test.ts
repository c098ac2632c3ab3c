import { beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Method, Root } from 'protobufjs';
import { computeMethods, computeMethodsOfCli } from '../../../infra/bundle/compute-methods';
import { pruneComputeProtos } from '../../../infra/bundle/compute-protos';
import { clientMembersUsed } from './client-usage';
import { arbitraryMessage, type MessageOptions } from './arbitrary-messages';

/** Loads packages in the versions that the client uses. */
const ofClient = createRequire(require.resolve('@google-cloud/compute'));
const ofGax = createRequire(ofClient.resolve('google-gax'));
const protobuf = ofGax('protobufjs') as { Root: { fromJSON: (json: object) => Root } };
const { encodeRequest, decodeResponse } = ofGax('./fallbackRest.js') as Codec;

/** google-gax: build/src/fallbackRest.d.ts */
interface Codec {
  encodeRequest: (
    method: Method,
    protocol: string,
    host: string,
    port: number,
    request: object,
    numericEnums: boolean,
    minifyJson: boolean,
  ) => object;
  decodeResponse: (method: Method, ok: boolean, body: Uint8Array, status: number) => object;
}

const pairsOf = (all: typeof computeMethods) =>
  Object.entries(all).flatMap(([service, names]) => names.map((name) => [service, name] as const));
const methods = pairsOf(computeMethodsOfCli);

describe('the methods that a bundle keeps', () => {
  const [functions = [], reach = []] = clientMembersUsed(
    ['shared/gcp', 'shared/gcp/reach'],
    /\/compute\/build\/src\/v1\/\w+_client\.d\.ts$/,
  ).map((members) =>
    [...members]
      // These members handle credentials and call no API method.
      .filter((member) => !/\.(auth|getProjectId)$/.test(member))
      .map((member) => member.replace(/(Async|Stream)$/, '').toLowerCase()),
  );
  const kept = (all: typeof computeMethods) =>
    pairsOf(all).map(([service, name]) => `${service}Client.${name}`.toLowerCase());

  test('for the functions are exactly those that shared/gcp calls', () => {
    expect([...new Set(functions)].sort()).toEqual(kept(computeMethods).sort());
  });

  test('for the command line also include those that shared/gcp/reach calls', () => {
    expect([...new Set([...functions, ...reach])].sort()).toEqual(kept(computeMethodsOfCli).sort());
  });
});

describe('the pruned API description encodes requests and decodes responses like the complete description:', () => {
  const text = readFileSync(ofClient.resolve('../protos/protos.json'), 'utf8');
  let whole: Root;
  let pruned: Root;

  beforeAll(() => {
    whole = protobuf.Root.fromJSON(JSON.parse(text) as object);
    pruned = protobuf.Root.fromJSON(pruneComputeProtos(text, computeMethodsOfCli));
  }, 60_000);

  const methodOf = (root: Root, service: string, name: string): Method => {
    const method = root.lookupService(`google.cloud.compute.v1.${service}`).methods[name];
    if (!method) throw new Error(`${service} has no method ${name}`);
    method.resolve();
    return method;
  };
  const encode = (method: Method, request: object) =>
    outcome(() => encodeRequest(method, 'https', 'compute.googleapis.com', 443, request, false, false));
  const decode = (method: Method, response: object, status = 200) =>
    outcome(() => decodeResponse(method, status < 400, Buffer.from(JSON.stringify(response)), status));

  const kinds: readonly [string, MessageOptions, number][] = [
    ['with every field', { isWhole: true, isNewer: false }, 3],
    ['with some fields', { isWhole: false, isNewer: false }, 10],
    ['with newer fields and values', { isWhole: false, isNewer: true }, 10],
  ];

  describe.each(methods)('%s.%s', (service, name) => {
    test.each(kinds)('%s', (_, options, numRuns) => {
      const [full, small] = [methodOf(whole, service, name), methodOf(pruned, service, name)];
      const { resolvedRequestType: requestType, resolvedResponseType: responseType } = full;
      if (!requestType || !responseType) throw new Error('unresolved');
      const messages = fc.tuple(
        arbitraryMessage(requestType, options),
        arbitraryMessage(responseType, options),
      );
      fc.assert(
        fc.property(messages, ([request, response]) => {
          const [sent, received] = [encode(full, request), decode(full, response)];
          if (!options.isNewer)
            expect([sent, received]).toEqual([{ value: expect.anything() }, { value: expect.anything() }]);
          expect([encode(small, request), decode(small, response)]).toEqual([sent, received]);
        }),
        { numRuns },
      );
    });

    test('as an error', () => {
      const error = {
        code: 412,
        message: 'stale',
        errors: [{ reason: 'conditionNotMet' }],
        status: 'ABORTED',
      };
      const [full, small] = [methodOf(whole, service, name), methodOf(pruned, service, name)];
      expect(decode(small, { error }, 412)).toEqual(decode(full, { error }, 412));
    });
  });

  test('64-bit IDs are decoded as text and remain exact', () => {
    const found = decode(methodOf(pruned, 'Instances', 'Get'), { id: '18446744073709551615' });
    expect(found).toMatchObject({ value: { id: '18446744073709551615' } });
  });
});

/** Returns the result of a call, or the properties of the error that the call throws. */
function outcome(run: () => object): { value: object } | { error: object } {
  try {
    return { value: run() };
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    const { name, message } = error;
    return { error: Object.assign({}, error, { name, message }) };
  }
}
