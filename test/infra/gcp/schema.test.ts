import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from '@jest/globals';
import {
  metaArguments,
  readConfiguration,
  type TerraformBlock,
  type TerraformModule,
} from '../../../infra/gcp/configuration';
import { attributesRead, referencesIn } from '../../../infra/gcp/references';
import { schemaErrors, type Schema } from '../../../infra/gcp/schema';
import published from '../../../infra/gcp/schema.json';
import { hasTerraform, skipReason } from './terraform-apply';

const schema = published as Schema;

let modules: readonly TerraformModule[];

beforeAll(async () => {
  modules = await readConfiguration();
});

describe("the provider's published schema", () => {
  test('contains every resource, data source, block and argument in the configuration, which sets all that are required', () => {
    const errors = modules.flatMap(({ folder, resources }) =>
      resources.flatMap(({ mode, type, name, body }) => {
        const known = schema[mode][type];
        return known
          ? schemaErrors(body, known, `${folder}: ${type}.${name}`)
          : [`${folder}: there is no ${mode} ${type}`];
      }),
    );
    expect(errors).toEqual([]);
  });

  test('contains every attribute that the configuration reads', () => {
    const unknown = modules
      .flatMap(attributesRead)
      .filter(({ mode, type, path }) => !schema[mode][type]?.attributes.includes(path))
      .map(({ type, name, path }) => `${type}.${name}.${path}`);
    expect(unknown).toEqual([]);
  });

  test('contains only resources and data sources that are used', () => {
    const used = modules.flatMap(({ resources }) => resources.map(({ mode, type }) => `${mode} ${type}`));
    const known = (['resource', 'data'] as const).flatMap((mode) =>
      Object.keys(schema[mode]).map((type) => `${mode} ${type}`),
    );
    expect(known.sort()).toEqual([...new Set(used)].sort());
  });

  test('matches the provider version to which each module is pinned', () => {
    for (const { requirements } of modules) {
      const providers = requirements.flatMap(({ required_providers: all }) =>
        Object.values((all as TerraformBlock[])[0] ?? {}),
      );
      expect(providers).not.toEqual([]);
      for (const { source, version } of providers as { source: string; version: string }[]) {
        const [major = '', minor = ''] = schema.providers[source]?.version.split('.') ?? [];
        expect({ source, version }).toEqual({ source, version: `~> ${major}.${minor}` });
      }
      expect(requirements).toEqual([expect.objectContaining({ required_version: '>= 1.9' })]);
    }
  });

  const policySchema = schema.resource['google_monitoring_alert_policy'];
  const good = { display_name: 'a', combiner: 'OR', conditions: [{ display_name: 'b' }] };

  test.each<[string, TerraformBlock, string[]]>([
    ['valid arguments only', good, []],
    ["Terraform's own arguments", { ...good, for_each: '${{}}', depends_on: [] }, []],
    ['an unknown argument', { ...good, retry: true }, ['a has no retry']],
    ['an unknown block', { ...good, retry_policy: [{ max_attempts: 1 }] }, ['a has no retry_policy']],
    ['a missing argument', { ...good, combiner: undefined }, ['a lacks combiner']],
    ['a missing block', { ...good, conditions: undefined }, ['a lacks conditions']],
    ['an error inside a block', { ...good, conditions: [{}] }, ['a.conditions lacks display_name']],
    [
      'an error inside a dynamic block',
      {
        ...good,
        conditions: undefined,
        dynamic: { conditions: [{ for_each: '', content: [{}] }] },
      },
      ['a.conditions lacks display_name'],
    ],
    [
      'an argument instead of a block',
      { ...good, conditions: { display_name: 'e' } },
      ['a.conditions is a block'],
    ],
    ['a block instead of an argument', { ...good, combiner: [{ e: 'f' }] }, ['a.combiner is not a block']],
  ])('is used to check a resource that has %s', (_, body, errors) => {
    const given = Object.fromEntries(Object.entries(body).filter(([, value]) => value !== undefined));
    expect(policySchema && schemaErrors(given, policySchema, 'a')).toEqual(errors);
  });
});

describe('the Terraform modules', () => {
  test('use only names that they declare, and declare only names that they use', () => {
    for (const module of modules) {
      const references = [...new Set(referencesIn(module).map((parts) => parts.slice(0, 2).join('.')))];
      const used = (kind: string) => references.filter((one) => one.startsWith(`${kind}.`)).sort();
      const declared = (kind: string, found: TerraformBlock | Readonly<Record<string, TerraformBlock>>) =>
        Object.keys(found)
          .map((name) => `${kind}.${name}`)
          .sort();
      expect(used('var')).toEqual(declared('var', module.variables));
      expect(used('local')).toEqual(declared('local', module.locals));
      expect(declared('module', module.calls)).toEqual(expect.arrayContaining(used('module')));
      const resources = module.resources.map(({ type, name }) => `${type}.${name}`);
      const named = references.filter((one) =>
        module.resources.some(({ type }) => one.startsWith(`${type}.`)),
      );
      expect(resources).toEqual(expect.arrayContaining(named));
    }
  });

  test('are called only with variables that they declare, and callers read only outputs that they declare', () => {
    for (const module of modules) {
      for (const [name, { source, ...given }] of Object.entries(module.calls)) {
        const called = modules.find(({ folder }) => folder === join(module.folder, String(source)));
        const wanted = Object.entries(called?.variables ?? {});
        const names = Object.keys(given).filter((argument) => !metaArguments.includes(argument));
        expect(wanted.map(([variable]) => variable)).toEqual(expect.arrayContaining(names));
        const needed = wanted
          .filter(([, variable]) => !('default' in variable))
          .map(([variable]) => variable);
        expect(names).toEqual(expect.arrayContaining(needed));
        const read = referencesIn(module).flatMap(([kind, call, output]) =>
          kind === 'module' && call === name && output !== undefined ? [output] : [],
        );
        expect(Object.keys(called?.outputs ?? {})).toEqual(expect.arrayContaining(read));
      }
    }
  });

  test('have a description for each variable and output, and a type for each variable', () => {
    for (const { variables, outputs } of modules) {
      const sentence = expect.stringMatching(/^[A-Z`].+\.$/s) as unknown;
      for (const variable of Object.values(variables)) {
        expect(variable).toMatchObject({ description: sentence, type: expect.any(String) as unknown });
      }
      for (const output of Object.values(outputs)) expect(output).toMatchObject({ description: sentence });
    }
  });

  (hasTerraform ? test : test.skip)(`are formatted${skipReason}`, () => {
    execFileSync('terraform', ['fmt', '-check', '-recursive', 'infra/gcp'], { stdio: 'pipe' });
  });
});
