import { describe, expect, test } from '@jest/globals';
import { managedPolicies, reachNodes } from '../../../infra/aws/permissions';
import { allOf, allowedIn } from './template';

describe('which nodes are reached', () => {
  test('with "*" every instance, because no condition can say "any cluster"', () => {
    const [only, ...rest] = reachNodes(['frontend', '*']);
    expect(only).toMatchObject({ Action: ['ssm:SendCommand'] });
    expect(only).not.toHaveProperty('Condition');
    expect(rest).toEqual([]);
  });

  const longNames = (count: number) => Array.from({ length: count }, (_, i) => `${i}-`.padEnd(100, 'x'));

  test('50 clusters with the longest names fit the policies of a role', () => {
    const statements = reachNodes(longNames(50));
    const policies = allOf(managedPolicies(statements, 'Reach'), 'AWS::IAM::ManagedPolicy');
    const documents = policies.map(([, { PolicyDocument }]) => PolicyDocument);
    // IAM quotas: characters in a policy, policies of a role.
    for (const document of documents) expect(JSON.stringify(document).length).toBeLessThanOrEqual(6_144);
    expect(documents.length).toBeLessThanOrEqual(10);
    expect(documents.flatMap(allowedIn)).toEqual(statements);
  });

  test('more than fit are refused with what to do', () => {
    expect(() => managedPolicies(reachNodes(longNames(200)), 'Reach')).toThrow(/two stages, or name "\*"/);
  });
});
