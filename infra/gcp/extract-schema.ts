import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import ts from 'typescript';
import { readConfiguration, type TerraformResource } from './configuration';
import { attributesRead } from './references';
import { schemaErrors, usedSchema, type BlockSchema, type ResourceSchema, type Schema } from './schema';

/**
 * Writes schema.json, which contains the part of the providers' published schemas that this configuration uses. The
 * schemas are read from the CDK bindings on npm, which are generated from them. The doc comments of the bindings
 * contain the original name of each argument and the version of the provider.
 */

const bindings = {
  'hashicorp/archive': { name: '@cdktf/provider-archive', version: '11.0.1' },
  'hashicorp/google': { name: '@cdktf/provider-google', version: '16.12.1' },
} as const;

type Provider = keyof typeof bindings;

interface ProviderBinding {
  readonly schema: BlockSchema;
  /** Whether an attribute path, such as `service_config.uri`, exists. */
  readonly hasAttribute: (path: string) => boolean;
  readonly version: string;
}

async function main(): Promise<void> {
  const modules = await readConfiguration();
  const resources = modules.flatMap((module) => module.resources);
  const read = modules.flatMap(attributesRead);
  const folder = install();
  try {
    const versions: Partial<Record<Provider, string>> = {};
    const extract = (mode: TerraformResource['mode']): Record<string, ResourceSchema> => {
      const types = [...new Set(resources.filter((one) => one.mode === mode).map(({ type }) => type))].sort();
      return Object.fromEntries(
        types.map((type) => {
          const provider: Provider = type.startsWith('google_') ? 'hashicorp/google' : 'hashicorp/archive';
          const full = readBinding(join(folder, 'node_modules', bindings[provider].name), mode, type);
          versions[provider] = full.version;
          const same = resources.filter((one) => one.mode === mode && one.type === type);
          const paths = read.filter((one) => one.mode === mode && one.type === type).map(({ path }) => path);
          const errors = [
            ...same.flatMap(({ name, body }) => schemaErrors(body, full.schema, `${type}.${name}`)),
            ...paths
              .filter((path) => !full.hasAttribute(path))
              .map((path) => `${type} has no attribute ${path}`),
          ];
          for (const error of errors) console.error(error);
          if (errors.length > 0) process.exitCode = 1;
          const used = usedSchema(
            full.schema,
            same.map(({ body }) => body),
          );
          return [type, { ...used, attributes: [...new Set(paths)].filter(full.hasAttribute).sort() }];
        }),
      );
    };
    const [resource, data] = [extract('resource'), extract('data')];
    const providers = Object.fromEntries(
      (Object.keys(bindings) as Provider[]).map((provider) => {
        const { name, version } = bindings[provider];
        return [provider, { version: versions[provider] ?? '', from: `${name}@${version}` }];
      }),
    );
    const schema: Schema = { providers, resource, data };
    writeFileSync('infra/gcp/schema.json', `${JSON.stringify(schema, null, 2)}\n`);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Installs the bindings in a temporary folder, because they are many times larger than all other dependencies. */
function install(): string {
  const folder = mkdtempSync(join(tmpdir(), 'peermasq-schema-'));
  const packages = Object.values(bindings).map(({ name, version }) => `${name}@${version}`);
  const options = ['--prefix', folder, '--no-save', '--ignore-scripts', '--legacy-peer-deps'];
  execFileSync('npm', ['install', ...options, ...packages], { stdio: ['ignore', 'inherit', 'inherit'] });
  return folder;
}

function readBinding(folder: string, mode: TerraformResource['mode'], type: string): ProviderBinding {
  const name = (mode === 'data' ? `data_${type}` : type.replace(/^google_/, '')).replaceAll('_', '-');
  const text = readFileSync(join(folder, 'lib', name, 'index.d.ts'), 'utf8');
  const version = /registry\.terraform\.io\/providers\/[a-z]+\/[a-z]+\/([0-9.]+)\//.exec(text)?.[1] ?? '';
  const source = ts.createSourceFile('index.d.ts', text, ts.ScriptTarget.Latest, true);
  const interfaces = new Map(
    source.statements.filter(ts.isInterfaceDeclaration).map((one) => [one.name.text, one]),
  );
  const classes = new Map(
    source.statements.filter(ts.isClassDeclaration).map((one) => [one.name?.text ?? '', one]),
  );
  const main =
    [...classes].find(([, one]) => one.getText().includes(`tfResourceType = "${type}"`))?.[0] ?? '';
  return {
    schema: blockSchema(`${main}Config`, interfaces),
    hasAttribute: (path) => hasGetters(main, path.split('.'), classes),
    version,
  };
}

function blockSchema(name: string, interfaces: ReadonlyMap<string, ts.InterfaceDeclaration>): BlockSchema {
  const members = (interfaces.get(name)?.members ?? []).flatMap((member) => {
    const argumentName = /#([a-z0-9_]+) [A-Za-z0-9]+#\1\}/.exec(member.getFullText())?.[1];
    if (!ts.isPropertySignature(member) || argumentName === undefined) return [];
    const inner = identifiersIn(member.type).find((one) => interfaces.has(one));
    return [{ name: argumentName, inner, isRequired: member.questionToken === undefined }];
  });
  if (members.length === 0) return { arguments: {}, blocks: {}, required: [] };
  return {
    arguments: Object.fromEntries(
      members.flatMap(({ name: one, inner, isRequired }) =>
        inner === undefined ? [[one, isRequired ? 'required' : 'optional'] as const] : [],
      ),
    ),
    blocks: Object.fromEntries(
      members.flatMap(({ name: one, inner }) =>
        inner === undefined ? [] : [[one, blockSchema(inner, interfaces)] as const],
      ),
    ),
    required: members
      .filter(({ inner, isRequired }) => inner !== undefined && isRequired)
      .map((one) => one.name),
  };
}

function identifiersIn(node: ts.Node | undefined): string[] {
  if (!node) return [];
  const own = ts.isIdentifier(node) ? [node.text] : [];
  return [...own, ...node.getChildren().flatMap(identifiersIn)];
}

/**
 * Whether the bindings contain getters for an attribute path. Bindings use camel case, and the attributes of a block
 * are in the class `…List` or `…OutputReference`.
 */
function hasGetters(
  main: string,
  [first = '', ...rest]: readonly string[],
  classes: ReadonlyMap<string, ts.ClassDeclaration>,
): boolean {
  const wanted = first.replace(/_([a-z0-9])/g, (_, character: string) => character.toUpperCase());
  const getter = classes
    .get(main)
    ?.members.find((member) => ts.isGetAccessor(member) && member.name.getText() === wanted);
  if (!getter || !ts.isGetAccessor(getter)) return false;
  if (rest.length === 0) return true;
  const inner = (getter.type?.getText() ?? '').replace(/List$/, 'OutputReference');
  return hasGetters(inner, rest, classes);
}

main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
