import { describe, expect, test } from '@jest/globals';
import { clusterStatements, clusterPolicies } from '../../../infra/aws/permissions';
import { roleResources } from '../../../infra/aws/roles';
import { allOf, allowedIn } from './template';
import { settingsWith } from './settings';

describe("the functions' permissions", () => {
  test('cover all instances if the config has the cluster "*", because a condition cannot match arbitrary cluster names', () => {
    const [only, ...rest] = clusterStatements('PushToNodes', ['frontend', '*']);
    expect(only).toMatchObject({ Sid: 'PushToNodes1', Action: ['ssm:SendCommand'] });
    expect(only).not.toHaveProperty('Condition');
    expect(rest).toEqual([]);
  });

  test('do not include completing launches if the launch gate is off', () => {
    expect(JSON.stringify(clusterPolicies(['frontend'], 'off'))).not.toContain('autoscaling:');
  });

  test.each(['continue', 'abandon'] as const)(
    'include completing launches in the configured clusters if the launch gate is %s',
    (gate) => {
      const gates = allowedIn(clusterPolicies(['frontend'], gate).CompleteLaunches);
      expect(gates).toHaveLength(5);
      expect(gates[0]).toMatchObject({
        Action: ['autoscaling:CompleteLifecycleAction'],
        Condition: { Null: { 'autoscaling:ResourceTag/kubernetes.io/cluster/frontend': 'false' } },
      });
      for (const { Condition } of gates) expect(Condition).toBeDefined();
    },
  );

  const longNames = (count: number) => Array.from({ length: count }, (_, i) => `${i}-`.padEnd(100, 'x'));

  test.each([
    [50, 'off'],
    [25, 'abandon'],
  ] as const)(
    'fit into a role for %i clusters with names of maximum length and the launch gate %s',
    (count, gate) => {
      const policies = clusterPolicies(longNames(count), gate);
      const documents = Object.values(policies).flatMap((some) =>
        allOf(some, 'AWS::IAM::ManagedPolicy').map(([, { PolicyDocument }]) => PolicyDocument),
      );
      // IAM limits the length of a policy and the number of policies in a role.
      for (const document of documents) expect(JSON.stringify(document).length).toBeLessThanOrEqual(6_144);
      expect(documents.length).toBeLessThanOrEqual(10);
      expect(allowedIn(policies.PushToNodes)).toEqual(clusterStatements('PushToNodes', longNames(count)));
    },
  );

  test('are rejected with advice if there are too many clusters for a role', () => {
    expect(() => clusterPolicies(longNames(200), 'off')).toThrow(/two stages, or use "\*"/);
  });
});

test("the build fails if a function's permissions are not declared", () => {
  const settings = settingsWith({ functions: { explain: { timeout: 3 } } });
  expect(() => roleResources(settings, ['frontend'])).toThrow(
    'a function explain: declare its permissions in infra/aws/permissions.ts',
  );
});
