import { describe, expect, test } from '@jest/globals';
import { clusterStatements, clusterPolicies } from '../../../infra/aws/permissions';
import { roleResources } from '../../../infra/aws/roles';
import { allOf, allowedIn } from './template';
import { settingsWith } from './settings';

describe('what is reached', () => {
  test('with "*" every instance, because no condition can say "any cluster"', () => {
    const [only, ...rest] = clusterStatements('PushToNodes', ['frontend', '*']);
    expect(only).toMatchObject({ Sid: 'PushToNodes1', Action: ['ssm:SendCommand'] });
    expect(only).not.toHaveProperty('Condition');
    expect(rest).toEqual([]);
  });

  test('without the launch gate launches may not be completed', () => {
    expect(JSON.stringify(clusterPolicies(['frontend'], 'off'))).not.toContain('autoscaling:');
  });

  test.each(['continue', 'abandon'] as const)('with the launch gate %s, those of the clusters', (gate) => {
    const gates = allowedIn(clusterPolicies(['frontend'], gate).CompleteLaunches);
    expect(gates).toHaveLength(5);
    expect(gates[0]).toMatchObject({
      Action: ['autoscaling:CompleteLifecycleAction'],
      Condition: { Null: { 'autoscaling:ResourceTag/kubernetes.io/cluster/frontend': 'false' } },
    });
    for (const { Condition } of gates) expect(Condition).toBeDefined();
  });

  const longNames = (count: number) => Array.from({ length: count }, (_, i) => `${i}-`.padEnd(100, 'x'));

  test.each([
    [50, 'off'],
    [25, 'abandon'],
  ] as const)('%i clusters with the longest names and launch gate %s fit a role', (count, gate) => {
    const policies = clusterPolicies(longNames(count), gate);
    const documents = Object.values(policies).flatMap((some) =>
      allOf(some, 'AWS::IAM::ManagedPolicy').map(([, { PolicyDocument }]) => PolicyDocument),
    );
    // IAM quotas: characters in a policy, policies of a role.
    for (const document of documents) expect(JSON.stringify(document).length).toBeLessThanOrEqual(6_144);
    expect(documents.length).toBeLessThanOrEqual(10);
    expect(allowedIn(policies.PushToNodes)).toEqual(clusterStatements('PushToNodes', longNames(count)));
  });

  test('more clusters than fit are rejected, with what to do', () => {
    expect(() => clusterPolicies(longNames(200), 'off')).toThrow(/two stages, or name "\*"/);
  });
});

test('a function without declared permissions is rejected', () => {
  const settings = settingsWith({ functions: { explain: { timeout: 3 } } });
  expect(() => roleResources(settings, ['frontend'])).toThrow(
    'a function explain: declare its permissions in infra/aws/permissions.ts',
  );
});
