import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import * as ec2 from '@aws-sdk/client-ec2';
import * as ssm from '@aws-sdk/client-ssm';
import { build } from 'esbuild';
import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { awsBundle } from '../../../infra/bundle/options';
import { withLiteralKeys } from '../../../infra/bundle/schema-keys';
import { clientCommandsUsed } from './client-usage';

describe("computed keys in the clients' schemas", () => {
  test('are replaced by constant strings', () => {
    const source =
      'const _eQN = "ec2QueryName";\nvar A$ = [0, [B$, _eQN], { [_eQN]: `Min`, [_eQN]: _eQN }];\n';
    expect(withLiteralKeys(source)).toBe(
      'const _eQN = "ec2QueryName";\nvar A$ = [0, [B$, _eQN], { "ec2QueryName": `Min`, "ec2QueryName": _eQN }];\n',
    );
  });

  test.each([
    [
      'comes from another file',
      'import { _x } from "./x";\nvar A$ = { [_x]: 1 };',
      'The key _x is not a string constant',
    ],
    ['is missing because there are no computed keys', 'var A$ = { x: 1 };', 'no computed keys'],
  ])('fail the build if one %s', (_, source, message) => {
    expect(() => withLiteralKeys(source)).toThrow(message);
  });
});

type Clients = Readonly<Record<'ec2' | 'ssm', Readonly<Record<string, unknown>>>>;

/** The complete clients. Their CommonJS build has the same schemas as the build that is bundled. */
const whole = { ec2, ssm } as unknown as Clients;

type Client = keyof Clients;

/** The commands that the functions use from the pruned clients. Other clients are small and not pruned. */
const sent = clientCommandsUsed('shared/aws').filter((pair): pair is [Client, string] => pair[0] in whole);

/**
 * The code that serialises and parses messages is the same for all schemas. Therefore, it is enough to compare the
 * schemas that each command uses and the errors that each client can return.
 */
describe('the schemas in the pruned client equal those in the complete client', () => {
  let folder: string;
  let shaken: Clients;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'peermasq-bundle-'));
    shaken = await bundled(join(folder, 'clients.cjs'));
  }, 30_000);
  afterAll(() => {
    rmSync(folder, { recursive: true });
  });

  test.each(sent)('%s: %s', (client, command) => {
    expect(partsOf(schemaOf(shaken[client][command]))).toEqual(partsOf(schemaOf(whole[client][command])));
  });

  test.each(['ec2', 'ssm'] as const)('%s: errors', (client) => {
    const [is, was] = [shaken, whole].map((clients) => partsOf(clients[client]['errorTypeRegistries']));
    expect(is).toEqual(was);
  });
});

async function bundled(outfile: string): Promise<Clients> {
  const exported = (['ec2', 'ssm'] as const).map((client) => {
    const names = sent.filter(([of]) => of === client).map(([, command]) => command);
    const parts = ['errorTypeRegistries', ...names].map((name) => `${name}: ${client}.${name}`);
    return `
      import * as ${client} from '@aws-sdk/client-${client}';
      exports.${client} = { ${parts.join(', ')} };`;
  });
  const { bundle, platform, format, mainFields, plugins } = awsBundle;
  const stdin = { contents: exported.join(''), resolveDir: process.cwd() };
  await build({ bundle, platform, format, mainFields, plugins, stdin, outfile });
  return createRequire(__filename)(outfile) as Clients;
}

function schemaOf(command: unknown): unknown {
  const Command = command as new (input: object) => { readonly schema: unknown };
  return new Command({}).schema;
}

/**
 * Lists all parts of a schema graph in traversal order. Repeated parts are listed by number, so equal lists mean equal
 * graphs. A function with a prototype is an error class and is listed by its name. Any other function returns a schema.
 */
function partsOf(root: unknown): unknown[] {
  const numbers = new Map<unknown, number>();
  const parts: unknown[] = [];
  const refer = (value: unknown): unknown => {
    if (typeof value === 'function') {
      return 'prototype' in value ? nameOf(value) : refer((value as () => unknown)());
    }
    if (typeof value !== 'object' || value === null) return value;
    const known = numbers.get(value);
    if (known !== undefined) return `part ${known}`;
    const number = numbers.size;
    numbers.set(value, number);
    const entries = value instanceof Map ? [...value] : Object.entries(value);
    parts[number] = entries.map(([key, one]) => [refer(key), refer(one)]);
    return `part ${number}`;
  };
  refer(root);
  return parts;
}

const nameOf = (error: object): string => new (error as new (options: object) => Error)({}).name;
