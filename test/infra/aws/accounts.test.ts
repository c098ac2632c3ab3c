import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { memberTemplate } from '../../../infra/aws/member';
import { managedPolicies, reachNodes } from '../../../infra/aws/permissions';
import { stackResources } from '../../../infra/aws/resources';
import { roleResources } from '../../../infra/aws/roles';
import { ruleResources } from '../../../infra/aws/rules';
import { parseSettings } from '../../../infra/aws/settings';
import { allOf, allowedIn, propertiesOf, readTemplate } from './template';

const params = {
  stage: 'prod',
  alarmEmail: '',
  objectiveMinutes: 10,
  sweepMinutes: 5,
  launchGate: 'off',
  memberAccounts: '',
  runbook: 'docs/runbook.md',
  functions: { 'node-joined': { timeout: 60 }, sweep: { timeout: 290 } },
};
const settings = (changed: Partial<typeof params> = {}) => parseSettings({ ...params, ...changed });

describe('which nodes are reached', () => {
  test('with "*" every instance, because no condition can say "any cluster"', () => {
    const [only, ...rest] = reachNodes(['frontend', '*'], 'off');
    expect(only).toMatchObject({ Action: ['ssm:SendCommand'] });
    expect(only).not.toHaveProperty('Condition');
    expect(rest).toEqual([]);
  });

  test('without the launch gate no launch is completed', () => {
    expect(JSON.stringify(reachNodes(['frontend'], 'off'))).not.toContain('autoscaling');
  });

  test.each(['continue', 'abandon'] as const)('with the launch gate %s, those of its groups', (gate) => {
    const gates = reachNodes(['frontend'], gate).filter(({ Action }) =>
      Action[0]?.startsWith('autoscaling:'),
    );
    expect(gates).toHaveLength(5);
    expect(gates[0]).toMatchObject({
      Action: ['autoscaling:CompleteLifecycleAction'],
      Condition: { Null: { 'autoscaling:ResourceTag/kubernetes.io/cluster/frontend': 'false' } },
    });
    for (const { Condition } of gates) expect(Condition).toBeDefined();
  });

  const longNames = (count: number) => Array.from({ length: count }, (_, i) => `${i}-`.padEnd(100, 'x'));

  test('50 clusters with the longest names fit the policies of a role', () => {
    const statements = reachNodes(longNames(50), 'off');
    const policies = allOf(managedPolicies(statements, 'Reach'), 'AWS::IAM::ManagedPolicy');
    const documents = policies.map(([, { PolicyDocument }]) => PolicyDocument);
    // IAM quotas: characters in a policy, policies of a role.
    for (const document of documents) expect(JSON.stringify(document).length).toBeLessThanOrEqual(6_144);
    expect(documents.length).toBeLessThanOrEqual(10);
    expect(documents.flatMap(allowedIn)).toEqual(statements);
  });

  test('more than fit are refused with what to do', () => {
    expect(() => managedPolicies(reachNodes(longNames(200), 'off'), 'Reach')).toThrow(
      /two stages, or name "\*"/,
    );
  });
});

describe('the central account', () => {
  const members = settings({ memberAccounts: '222222222222, 333333333333' });
  const rules = readTemplate({ Resources: ruleResources(members) });

  test('has a bus of its own for members, on which they alone may put events', () => {
    expect(propertiesOf(rules, 'MemberBus')).toEqual({ Name: 'peermasq-prod' });
    expect(allowedIn(propertiesOf(rules, 'MemberBusPolicy'))).toEqual([
      {
        Sid: 'TakeFromMembers',
        Effect: 'Allow',
        Principal: {
          AWS: ['222222222222', '333333333333'].map((id) => `arn:\${AWS::Partition}:iam::${id}:root`),
        },
        Action: ['events:PutEvents'],
        Resource: 'MemberBus.Arn',
      },
    ]);
  });

  test('has the rules twice: for itself on its own bus, for members on theirs', () => {
    const onBus = (bus: string | undefined) =>
      allOf(rules, 'AWS::Events::Rule').filter(([, { EventBusName }]) => EventBusName === bus);
    const accounts = (bus: string | undefined) =>
      onBus(bus).map(([, { EventPattern }]) => (EventPattern as { account: unknown }).account);
    expect(accounts(undefined)).toEqual(Array(5).fill(['AWS::AccountId']));
    expect(accounts('MemberBus')).toEqual(Array(5).fill(['222222222222', '333333333333']));
  });

  test('lets queues take messages from both', () => {
    const [{ Condition } = {}] = allowedIn(propertiesOf(rules, 'CommandsQueuePolicy'));
    expect(Condition).toEqual({
      ArnEquals: { 'aws:SourceArn': ['CommandFinishedRule.Arn', 'CommandFinishedRuleMemberBus.Arn'] },
    });
  });

  test('lets its functions assume the role of each member and no other', () => {
    const roles = readTemplate({ Resources: roleResources(members, ['frontend']) });
    const enter = allowedIn(propertiesOf(roles, 'SweepRole')).find(({ Sid }) => Sid === 'EnterMembers');
    expect(enter).toMatchObject({
      Action: ['sts:AssumeRole'],
      Resource: ['222222222222', '333333333333'].map(
        (id) => `arn:\${AWS::Partition}:iam::${id}:role/peermasq-prod-\${AWS::Region}-member`,
      ),
    });
  });

  test('has none of that without members', () => {
    const alone = JSON.stringify([ruleResources(settings()), roleResources(settings(), ['frontend'])]);
    expect(alone).not.toMatch(/MemberBus|EnterMembers/);
  });
});

describe('a member account', () => {
  const compiled = memberTemplate({
    stage: 'prod',
    central: '111111111111',
    launchGate: 'continue',
    clusters: ['frontend'],
    functions: ['node-joined', 'sweep'],
    program: readFileSync('shared/node/peermasq.sh', 'utf8'),
  });
  const template = readTemplate(compiled);

  test('has a template that CloudFormation takes from a file', () => {
    expect(JSON.stringify(compiled).length).toBeLessThan(51_200);
  });

  test('forwards its own events, all of those that the central account has rules for', () => {
    const rules = allOf(template, 'AWS::Events::Rule');
    expect(rules).toHaveLength(5);
    for (const [, { EventPattern, Targets }] of rules) {
      expect(EventPattern).toMatchObject({ account: ['AWS::AccountId'], region: ['AWS::Region'] });
      expect(Targets).toEqual([
        {
          Id: 'central',
          Arn: 'arn:${AWS::Partition}:events:${AWS::Region}:111111111111:event-bus/peermasq-prod',
          RoleArn: 'ForwardRole.Arn',
        },
      ]);
    }
  });

  test('trusts the functions of the central account by name', () => {
    const { RoleName, AssumeRolePolicyDocument } = propertiesOf(template, 'MemberRole');
    expect(RoleName).toBe('peermasq-prod-${AWS::Region}-member');
    expect(allowedIn(AssumeRolePolicyDocument)).toEqual([
      {
        Effect: 'Allow',
        Principal: { AWS: 'arn:${AWS::Partition}:iam::111111111111:root' },
        Action: ['sts:AssumeRole'],
        Condition: {
          ArnEquals: {
            'aws:PrincipalArn': ['node-joined', 'sweep'].map(
              (name) => `arn:\${AWS::Partition}:iam::111111111111:role/peermasq-prod-\${AWS::Region}-${name}`,
            ),
          },
        },
      },
    ]);
  });

  test('allows no action with a wildcard', () => {
    const actions = allowedIn(template).flatMap(({ Action }) => Action);
    expect(actions).toContain('ssm:SendCommand');
    expect(actions.filter((action) => /[*?]/.test(action))).toEqual([]);
  });
});

describe('parameters that are not usable', () => {
  test('are all told at once, with what was read and what is accepted', () => {
    const bad = {
      stage: 'PROD',
      alarmEmail: 'nobody',
      objectiveMinutes: 0,
      sweepMinutes: 2,
      launchGate: 'maybe',
      memberAccounts: '12',
    };
    const told = () => settings(bad);
    for (const read of ['"PROD"', '"nobody"', 'read 0', 'read 2', '"maybe"', '"12"'])
      expect(told).toThrow(read);
    expect(told).toThrow('accepted are whole minutes from 5 to 60');
  });

  test('a config or program that is newer than the build is refused', () => {
    const folder = mkdtempSync(join(tmpdir(), 'peermasq-'));
    mkdirSync(join(folder, 'shared/node'), { recursive: true });
    writeFileSync(join(folder, 'shared/node/peermasq.sh'), 'new');
    expect(() => stackResources(folder, params)).toThrow(
      'dist/aws/peermasq.sh is not what shared/node/peermasq.sh is now. Run: npm run build',
    );
    rmSync(folder, { recursive: true });
  });
});
