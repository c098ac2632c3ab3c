import { describe, expect, test } from '@jest/globals';
import { memberTemplate } from '../../../infra/aws/member';
import { roleResources } from '../../../infra/aws/roles';
import { ruleResources } from '../../../infra/aws/rules';
import { statements } from '../../../shared/aws/client/permissions';
import { settingsWith } from './settings';
import { allOf, allowedIn, propertiesOf, readTemplate } from './template';
import { nodeProgram } from '../../lab/node-program';

describe('the template of the central account', () => {
  const members = settingsWith({ memberAccounts: '222222222222, 333333333333' });
  const rules = readTemplate({ Resources: ruleResources(members) });

  test('has a separate event bus to which only the member accounts may send events', () => {
    expect(propertiesOf(rules, 'MemberBus')).toEqual({ Name: 'peermasq-prod' });
    expect(allowedIn(propertiesOf(rules, 'MemberBusPolicy'))).toEqual([
      {
        Sid: 'AllowMemberAccounts',
        Effect: 'Allow',
        Principal: {
          AWS: ['222222222222', '333333333333'].map((id) => `arn:\${AWS::Partition}:iam::${id}:root`),
        },
        Action: ['events:PutEvents'],
        Resource: 'MemberBus.Arn',
      },
    ]);
  });

  test('has each event rule twice: on the default bus and on the bus for members', () => {
    const onBus = (bus: string | undefined) =>
      allOf(rules, 'AWS::Events::Rule').filter(([, { EventBusName }]) => EventBusName === bus);
    const accounts = (bus: string | undefined) =>
      onBus(bus).map(([, { EventPattern }]) => (EventPattern as { account: unknown }).account);
    expect(accounts(undefined)).toEqual(Array(5).fill(['AWS::AccountId']));
    expect(accounts('MemberBus')).toEqual(Array(5).fill(['222222222222', '333333333333']));
  });

  test('lets the rules on both buses send events to the queues', () => {
    const [{ Condition } = {}] = allowedIn(propertiesOf(rules, 'CommandsQueuePolicy'));
    expect(Condition).toEqual({
      ArnEquals: { 'aws:SourceArn': ['CommandFinishedRule.Arn', 'CommandFinishedRuleMemberBus.Arn'] },
    });
  });

  test('allows the functions to assume only the roles in the configured member accounts', () => {
    const roles = readTemplate({ Resources: roleResources(members, ['frontend']) });
    const enter = allowedIn(propertiesOf(roles, 'SweepRole')).find(({ Sid }) => Sid === 'AssumeMemberRoles');
    expect(enter).toMatchObject({
      Action: ['sts:AssumeRole'],
      Resource: ['222222222222', '333333333333'].map(
        (id) => `arn:\${AWS::Partition}:iam::${id}:role/peermasq-prod-\${AWS::Region}-member`,
      ),
    });
  });

  test('has no bus and no role for members if there are no members', () => {
    const alone = JSON.stringify([
      ruleResources(settingsWith()),
      roleResources(settingsWith(), ['frontend']),
    ]);
    expect(alone).not.toMatch(/MemberBus|AssumeMemberRoles/);
  });
});

describe('the template of a member account', () => {
  const compiled = memberTemplate({
    stage: 'prod',
    central: '111111111111',
    launchGate: 'continue',
    clusters: ['frontend'],
    functions: ['node-joined', 'sweep'],
    program: nodeProgram,
  });
  const template = readTemplate(compiled);

  test("is within CloudFormation's size limit for templates in a bucket", () => {
    expect(JSON.stringify(compiled).length).toBeLessThan(1_000_000);
    expect(Object.keys(allOf(template, 'AWS::SSM::Document'))).toHaveLength(1);
  });

  test("forwards the member account's events that match a rule in the central account", () => {
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

  test('trusts only the named functions in the central account', () => {
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

  test('allows only the actions that the functions need in a member account, without queues, other roles or wildcards', () => {
    const { Policies } = propertiesOf(template, 'MemberRole');
    const reach = allOf(template, 'AWS::IAM::ManagedPolicy');
    const { ConsumeQueue, SendToDeadLetterQueue, AssumeMemberRoles, ...serving } = statements;
    const central = [...ConsumeQueue, ...SendToDeadLetterQueue, ...AssumeMemberRoles];
    const actions = new Set(allowedIn([Policies, reach]).flatMap(({ Action }) => Action));
    expect(actions).toEqual(new Set(Object.values(serving).flat()));
    for (const action of central) expect(actions).not.toContain(action);
    expect([...actions].filter((action) => /[*?]/.test(action))).toEqual([]);
  });

  test('attaches all policies in the template to the role', () => {
    const policies = allOf(template, 'AWS::IAM::ManagedPolicy').map(([id]) => id);
    expect(policies).toEqual(['PushToNodes1', 'CompleteLaunches1']);
    expect(propertiesOf(template, 'MemberRole')['ManagedPolicyArns']).toEqual(policies);
  });
});
