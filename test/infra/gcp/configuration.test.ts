import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { readConfiguration, textsIn, type TerraformModule } from '../../../infra/gcp/configuration';
import {
  identityPermissions,
  networkPermissions,
  nodePermissions,
  restartPermissions,
  roleOf,
} from '../../../shared/gcp/client/permissions';
import { instanceInsertMethods } from '../../../shared/gcp/events/instance-inserted';
import { routeChangeMethods } from '../../../shared/gcp/events/routes-changed';

/** These tests read the configuration without running terraform. The tests in deployment.test.ts run terraform. */

let modules: readonly TerraformModule[];

beforeAll(async () => {
  modules = await readConfiguration();
});

const localsOf = (folder: string): Readonly<Record<string, unknown>> =>
  modules.find((module) => module.folder === folder)?.locals ?? {};

const root = 'infra/gcp';

test('no roles are granted to allUsers or allAuthenticatedUsers', () => {
  expect(textsIn(modules).filter((text) => /allUsers|allAuthenticatedUsers/.test(text))).toEqual([]);
});

describe('the permissions in the custom roles', () => {
  const table = {
    nodes: nodePermissions,
    networks: networkPermissions,
    node_identity: identityPermissions,
    restart: restartPermissions,
  };

  test('equal the permissions that are listed in shared/gcp', () => {
    expect(localsOf(`${root}/modules/project`)['permissions']).toEqual(table);
  });

  test('are each reported with the right role if they are missing', () => {
    for (const [role, permissions] of Object.entries(table))
      for (const permission of permissions) expect(roleOf(permission)).toBe(role);
    expect(roleOf('compute.instances.delete')).toBeUndefined();
  });
});

test('the log sinks forward the audit logs of exactly the methods that the functions handle', () => {
  const { methods } = localsOf(root) as { methods: Record<string, string[]> };
  expect(methods).toEqual({
    nodes: [...instanceInsertMethods].sort(),
    routes: [...routeChangeMethods].sort(),
  });
});

describe('the alerts', () => {
  test('each have a runbook section, and the runbook has no sections without an alert', () => {
    const headings = readFileSync('docs/runbook.md', 'utf8').match(/(?<=^## gcp-).+$/gm) ?? [];
    const names = [...Object.keys(localsOf(root)['alerts'] as object), 'sweep-missing'];
    expect(headings.sort()).toEqual(names.sort());
  });

  test('use existing metrics', () => {
    const { alerts, counters, distributions } = localsOf(root) as Record<string, Record<string, object>>;
    const metrics = [...Object.keys(counters ?? {}), ...Object.keys(distributions ?? {})];
    for (const alert of Object.values(alerts ?? {})) {
      expect(metrics).toContain((alert as { metric: string }).metric);
    }
  });
});

describe('the log-based metrics', () => {
  test('have the names that the design and the alerts use', () => {
    const { counters, distributions } = localsOf(root) as Record<string, object>;
    const design = [
      'NodesProven',
      'NodesFailed',
      'NodesUnproven',
      'SecondsToProven',
      'SourcePortsUsedPercent',
      'ApiCalls',
      'ApiThrottles',
    ];
    expect(Object.keys({ ...counters, ...distributions })).toEqual(expect.arrayContaining(design));
  });

  test('are based on events that the functions log', () => {
    const [, union = ''] =
      /type LogEvent =((?:\s+\| '\w+')+);/.exec(readFileSync('shared/core/log.ts', 'utf8')) ?? [];
    const events = union.match(/\w+/g);
    const { counters, distributions } = localsOf(root) as Record<string, Record<string, { filter: string }>>;
    for (const { filter } of Object.values({ ...counters, ...distributions })) {
      const [, named = ''] = /jsonPayload\.message=(\([^)]*\)|"\w+")/.exec(filter) ?? [];
      const names = [...named.matchAll(/"(\w+)"/g)].map(([, event]) => event);
      expect(names).not.toEqual([]);
      for (const event of names) expect(events).toContain(event);
    }
  });
});
