import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export type Json = Record<string, unknown>;

export interface CompiledResource {
  readonly Type: string;
  readonly Properties: Json;
}

/** The resources of a template by logical ID. References are replaced by plain text, such as `NodesQueue.Arn`. */
export type Template = Readonly<Record<string, CompiledResource>>;

export const readTemplate = (template: unknown): Template =>
  (readable(template) as { Resources: Template }).Resources;

/** Returns the logical IDs and properties of all resources of a type. */
export const allOf = (template: Template, type: string): [string, Json][] =>
  Object.entries(template)
    .filter(([, { Type }]) => Type === type)
    .map(([id, { Properties }]) => [id, Properties]);

export function propertiesOf(template: Template, id: string): Json {
  const resource = template[id];
  if (!resource) throw new Error(`The template has no ${id}; it has ${Object.keys(template).join(', ')}`);
  return resource.Properties;
}

/** Returns the allow statements of all policies in a value, at any depth. */
export const allowedIn = (value: unknown): AllowStatement[] =>
  statementsIn(value).filter(({ Effect }) => Effect === 'Allow');

export interface AllowStatement {
  readonly Sid?: string;
  readonly Effect: string;
  readonly Principal?: unknown;
  readonly Action: string | readonly string[];
  readonly Resource?: unknown;
  readonly Condition?: Json;
}

function statementsIn(value: unknown): AllowStatement[] {
  if (Array.isArray(value)) return value.flatMap(statementsIn);
  if (typeof value !== 'object' || value === null) return [];
  if ('Effect' in value && 'Action' in value) return [value as AllowStatement];
  return Object.values(value).flatMap(statementsIn);
}

/** Replaces references: `{Ref: X}` → `X`, `{Fn::GetAtt: [X, Arn]}` → `X.Arn`, `{Fn::Sub: text}` → text. */
function readable(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(readable);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value);
  const [[key, argument] = ['', undefined]] = entries;
  if (entries.length === 1 && (key === 'Ref' || key === 'Fn::Sub')) return argument;
  if (entries.length === 1 && key === 'Fn::GetAtt') return (argument as string[]).join('.');
  return Object.fromEntries(entries.map(([name, inner]) => [name, readable(inner)]));
}

export interface Packaged {
  readonly template: Template;
  /** The names of the files in the artifact. */
  readonly files: readonly string[];
}

/** Runs `serverless package` on a copy of the repository with the given config, without credentials. */
export function packageService(config: string, params: Readonly<Record<string, string>> = {}): Packaged {
  const folder = mkdtempSync(join(tmpdir(), 'peermasq-package-'));
  try {
    for (const part of ['serverless.yml', 'package.json', 'infra', 'shared', 'dist/aws']) {
      cpSync(part, join(folder, part), { recursive: true });
    }
    for (const part of ['peermasq.yaml', 'dist/aws/peermasq.yaml']) writeFileSync(join(folder, part), config);
    symlinkSync(join(process.cwd(), 'node_modules'), join(folder, 'node_modules'));
    const options = Object.entries(params).flatMap(([name, value]) => ['--param', `${name}=${value}`]);
    execFileSync(
      process.execPath,
      [join(folder, 'node_modules/serverless/bin/serverless.js'), 'package', '--stage', 'test', ...options],
      { cwd: folder, env: { PATH: process.env['PATH'], HOME: folder }, stdio: 'pipe' },
    );
    const output = (name: string) => readFileSync(join(folder, '.serverless', name));
    return {
      template: readTemplate(JSON.parse(output('cloudformation-template-update-stack.json').toString())),
      files: filesIn(output('peermasq.zip')),
    };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/**
 * Returns the file names in a zip file's central directory. In each entry, the length of the name is at byte 28, and
 * the name starts at byte 46.
 */
function filesIn(zip: Buffer): string[] {
  const names: string[] = [];
  for (let at = zip.indexOf('PK\x01\x02'); at >= 0; at = zip.indexOf('PK\x01\x02', at + 46)) {
    names.push(zip.toString('utf8', at + 46, at + 46 + zip.readUInt16LE(at + 28)));
  }
  return names;
}
