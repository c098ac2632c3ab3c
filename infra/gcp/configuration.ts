import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { parse } from '@cdktn/hcl2json';
import * as z from 'zod';

/** The Terraform configuration in this folder as data. Expressions are strings, such as `${var.project}`. */

const body = z.record(z.string(), z.unknown());
const labelled = z.record(z.string(), z.array(body)).default({});
const twiceLabelled = z.record(z.string(), labelled).default({});

const fileSchema = z.strictObject({
  terraform: z.array(body).default([]),
  variable: labelled,
  locals: z.array(body).default([]),
  module: labelled,
  data: twiceLabelled,
  resource: twiceLabelled,
  output: labelled,
});

export type TerraformBlock = z.infer<typeof body>;

/** A resource or data source of the configuration. */
export interface TerraformResource {
  readonly mode: 'resource' | 'data';
  readonly type: string;
  readonly name: string;
  readonly body: TerraformBlock;
}

/** A Terraform module, which consists of the files in one folder. */
export interface TerraformModule {
  /** The path from the root of the repository, such as `infra/gcp/modules/project`. */
  readonly folder: string;
  readonly resources: readonly TerraformResource[];
  readonly variables: Readonly<Record<string, TerraformBlock>>;
  readonly locals: TerraformBlock;
  readonly outputs: Readonly<Record<string, TerraformBlock>>;
  readonly calls: Readonly<Record<string, TerraformBlock>>;
  readonly requirements: readonly TerraformBlock[];
}

/** @throws Error with the line if a file is not valid HCL */
export async function readConfiguration(root = 'infra/gcp'): Promise<TerraformModule[]> {
  const files = readdirSync(root, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.tf'))
    .map((file) => join(root, file));
  const folders = [...new Set(files.map(dirname))].sort();
  return Promise.all(
    folders.map((folder) =>
      readModule(
        folder,
        files.filter((file) => dirname(file) === folder),
      ),
    ),
  );
}

async function readModule(folder: string, files: readonly string[]): Promise<TerraformModule> {
  const parsed = await Promise.all(
    files.map(async (file) => fileSchema.parse(await parse(file, readFileSync(file, 'utf8')))),
  );
  return {
    folder: relative('.', folder),
    resources: parsed.flatMap((file) => [
      ...resourcesOf('resource', file.resource),
      ...resourcesOf('data', file.data),
    ]),
    variables: singly(parsed.map(({ variable }) => variable)),
    locals: Object.assign({}, ...parsed.flatMap(({ locals }) => locals)) as TerraformBlock,
    outputs: singly(parsed.map(({ output }) => output)),
    calls: singly(parsed.map(({ module }) => module)),
    requirements: parsed.flatMap(({ terraform }) => terraform),
  };
}

function resourcesOf(
  mode: TerraformResource['mode'],
  found: z.infer<typeof twiceLabelled>,
): TerraformResource[] {
  return Object.entries(found).flatMap(([type, names]) =>
    Object.entries(names).flatMap(([name, bodies]) => bodies.map((one) => ({ mode, type, name, body: one }))),
  );
}

const singly = (all: readonly z.infer<typeof labelled>[]): Record<string, TerraformBlock> =>
  Object.fromEntries(
    all
      .flatMap((one) => Object.entries(one))
      .map(([name, [first]]): [string, TerraformBlock] => [name, first ?? {}]),
  );

/** Returns every string in a value at any depth, including keys. */
export function textsIn(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  if (Array.isArray(value)) return value.flatMap(textsIn);
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => [key, ...textsIn(inner)]);
}

/** Arguments that belong to Terraform itself, not to a provider. */
export const metaArguments = ['count', 'depends_on', 'for_each', 'lifecycle', 'provider'];

/**
 * Returns the members of a block. In the parser's JSON, blocks are lists of objects. A dynamic block is treated as the
 * block that it generates.
 */
export function membersOf(found: TerraformBlock): [string, unknown][] {
  return Object.entries(found).flatMap(([name, value]): [string, unknown][] => {
    if (metaArguments.includes(name)) return [];
    if (name !== 'dynamic') return [[name, value]];
    return Object.entries(labelled.parse(value)).map(([block, generators]) => [
      block,
      generators.flatMap(({ content }) => content),
    ]);
  });
}

export const isBlock = (value: unknown): value is TerraformBlock[] =>
  z.array(body).min(1).safeParse(value).success;
