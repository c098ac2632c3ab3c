import { execFile, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import * as z from 'zod';
import {
  isBlock,
  metaArguments,
  readConfiguration,
  type TerraformBlock,
  type TerraformModule,
  type TerraformResource,
} from '../../../infra/gcp/configuration';
import { attributesRead } from '../../../infra/gcp/references';

/**
 * A resource after `terraform apply`. No provider is used: each resource becomes a built-in `terraform_data`, which
 * stores its input, and each data source becomes a local value. The real terraform evaluates variables, conditions,
 * loops, types and ordering. Values that a provider would compute, such as an email address, are made up. They are
 * unknown before the apply, as with a real provider.
 */
export interface AppliedResource {
  readonly type: string;
  readonly name: string;
  /** The key in `for_each`, or the index in `count`. */
  readonly key: string | number | undefined;
  /** The path of the module, such as `module.host`. Empty for the root module. */
  readonly module: string;
  readonly arguments: Record<string, unknown>;
}

export const hasTerraform = spawnSync('terraform', ['version'], { stdio: 'ignore' }).status === 0;

/** The text that is added to the titles of tests that need terraform. Empty if terraform is installed. */
export const skipReason = hasTerraform ? '' : ' (skipped: terraform is not installed)';

let configuration: Promise<TerraformModule[]> | undefined;

/**
 * Applies a module and returns its resources.
 * @param folder the module to apply, such as `infra/gcp/examples/one-project`
 * @throws Error with terraform's output
 */
export async function applyTerraform(
  folder: string,
  variables: Readonly<Record<string, unknown>>,
): Promise<AppliedResource[]> {
  const root = mkdtempSync(join(tmpdir(), 'peermasq-terraform-'));
  try {
    for (const module of await (configuration ??= readConfiguration()))
      write(root, module.folder, stubModule(module));
    writeFile(join(root, 'dist/gcp/peermasq.sh'), '# the node program\n');
    writeFile(join(root, 'dist/gcp/startup-script.sh'), '# the startup script\n');
    write(root, folder, variables, 'terraform.tfvars.json');
    const run = terraformIn(join(root, folder));
    await run('init');
    await run('apply', '-auto-approve');
    return appliedIn(shownSchema.parse(JSON.parse(await run('show', '-json'))).values.root_module);
  } finally {
    rmSync(root, { recursive: true });
  }
}

const terraformIn =
  (cwd: string) =>
  async (command: string, ...args: string[]): Promise<string> => {
    const env = {
      ...process.env,
      CHECKPOINT_DISABLE: '1',
      TF_CLI_CONFIG_FILE: '/dev/null',
      TF_IN_AUTOMATION: '1',
    };
    const quietly = command === 'show' ? [] : ['-input=false', '-no-color'];
    const { stdout } = await execute('terraform', [command, ...quietly, ...args], { cwd, env });
    return stdout;
  };

const execute = promisify(execFile);

function write(root: string, folder: string, value: unknown, name = 'main.tf.json'): void {
  writeFile(join(root, folder, name), JSON.stringify(value, null, 1));
}

function writeFile(file: string, text: string): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
}

/** Returns a module in Terraform's JSON syntax, with substitutes for everything that needs a provider. */
function stubModule(module: TerraformModule): unknown {
  const rename = makeRename(module);
  const of = (mode: TerraformResource['mode']) => module.resources.filter((one) => one.mode === mode);
  return withoutEmpty({
    variable: mapValues(module.variables, ({ type, ...rest }) => ({ ...rest, type: bare(type) })),
    locals: rename({ ...module.locals, ...stubResources(of('data'), (one) => argumentsOf(one, module)) }),
    module: rename(module.calls),
    output: rename(mapValues(module.outputs, ({ value }) => ({ value }))),
    resource: withoutEmpty({
      terraform_data: rename(
        stubResources(of('resource'), (one) => ({ ...metaOf(one.body), input: argumentsOf(one, module) })),
      ),
    }),
  });
}

const stubResources = (
  resources: readonly TerraformResource[],
  make: (one: TerraformResource) => TerraformBlock,
): TerraformBlock => Object.fromEntries(resources.map((one) => [`${one.type}__${one.name}`, make(one)]));

/** Removes empty blocks, which Terraform would reject as blocks without a label. */
const withoutEmpty = (from: TerraformBlock): TerraformBlock =>
  Object.fromEntries(
    Object.entries(from).filter(([, value]) => Object.keys(value as TerraformBlock).length > 0),
  );

/**
 * Returns a function that rewrites references. A reference to a data source becomes a reference to a local value,
 * because data sources are known before the apply. A reference to a resource becomes a reference to the output of its
 * `terraform_data`.
 */
function makeRename({ resources }: TerraformModule): (value: unknown) => unknown {
  const types = [...new Set(resources.map(({ type }) => type))].join('|') || '(?!)';
  const pattern = new RegExp(`(?<![\\w."])(data\\.)?(${types})\\.(\\w+)((?:\\[[^\\]]*\\])?)(\\.)?`, 'g');
  const rename = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(rename);
    if (typeof value === 'object' && value !== null) return mapValues(value as TerraformBlock, rename);
    if (typeof value !== 'string') return value;
    return value.replace(
      pattern,
      (_, data: string | undefined, type: string, name: string, index: string, dot: string | undefined) =>
        data === undefined
          ? `terraform_data.${type}__${name}${index}${dot === undefined ? '' : '.output.'}`
          : `local.${type}__${name}${dot ?? ''}`,
    );
  };
  return rename;
}

function metaOf(body: TerraformBlock): TerraformBlock {
  const { depends_on: needs } = body;
  return {
    ...Object.fromEntries(metaArguments.flatMap((name) => (name in body ? [[name, body[name]]] : []))),
    ...(Array.isArray(needs) && { depends_on: needs.map(bare) }),
  };
}

/** Returns the arguments of a resource, and made-up values for the computed attributes that the configuration reads. */
function argumentsOf(resource: TerraformResource, module: TerraformModule): TerraformBlock {
  const { type, name, body } = resource;
  const given = withoutDynamic(
    Object.fromEntries(Object.entries(body).filter(([argument]) => !metaArguments.includes(argument))),
  );
  const key = 'for_each' in body ? '${each.key}' : 'only';
  const read = attributesRead(module).filter((one) => one.type === type && one.name === name);
  for (const { path } of read)
    fillIn(given as TerraformBlock, path.split('.'), `${type}:${name}:${key}:${path}`);
  return given as TerraformBlock;
}

function fillIn(body: TerraformBlock, [first = '', ...rest]: readonly string[], value: string): void {
  if (rest.length === 0) body[first] ??= value;
  else if (isBlock(body[first])) for (const inner of body[first]) fillIn(inner, rest, value);
}

const withoutDynamic = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(withoutDynamic);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).flatMap(([name, inner]) =>
      name === 'dynamic' ? generated(inner as TerraformBlock) : [[name, withoutDynamic(inner)]],
    ),
  );
};

/** Converts `dynamic` blocks to expressions that evaluate to a list of blocks. */
const generated = (dynamic: TerraformBlock): [string, unknown][] =>
  Object.entries(dynamic as Record<string, TerraformBlock[]>).flatMap(([name, generators]) =>
    generators.map(({ for_each: each, content }): [string, unknown] => {
      const items = `[for key, value in ${String(bare(each))} : {key = key, value = value}]`;
      return [name, `\${[for ${name} in ${items} : ${JSON.stringify((content as TerraformBlock[])[0])}]}`];
    }),
  );

/** Removes `${` and `}` in places where Terraform's JSON syntax expects a bare expression. */
const bare = (text: unknown): unknown =>
  typeof text === 'string' ? text.replace(/^\$\{(.*)\}$/s, '$1') : text;

const mapValues = <T, R>(from: Readonly<Record<string, T>>, map: (value: T) => R): Record<string, R> =>
  Object.fromEntries(Object.entries(from).map(([name, value]) => [name, map(value)]));

interface ShownModule {
  readonly address?: string | undefined;
  readonly resources?: readonly z.infer<typeof shownResource>[] | undefined;
  readonly child_modules?: readonly ShownModule[] | undefined;
}

const shownResource = z.object({
  name: z.string(),
  index: z.union([z.string(), z.number()]).optional(),
  values: z.object({ input: z.record(z.string(), z.unknown()) }),
});

const shownModule: z.ZodType<ShownModule> = z.object({
  address: z.string().optional(),
  resources: z.array(shownResource).optional(),
  child_modules: z.array(z.lazy(() => shownModule)).optional(),
});

const shownSchema = z.object({ values: z.object({ root_module: shownModule }) });

function appliedIn({ address = '', resources = [], child_modules = [] }: ShownModule): AppliedResource[] {
  const own = resources.map(({ name, index, values }): AppliedResource => {
    const [type = '', resourceName = ''] = name.split('__');
    return { type, name: resourceName, key: index, module: address, arguments: values.input };
  });
  return [...own, ...child_modules.flatMap(appliedIn)];
}
