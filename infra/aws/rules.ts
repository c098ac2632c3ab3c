import { account, arnOf, logicalId, policy, ref, sub, type Resource, type Resources } from './cloudformation';
import { subscriptions, restrictTo } from './patterns';
import { deadLetterQueueId, queueId, queueNames, type QueueName } from './queues';
import { resourceName, stackName, type Settings } from './settings';

interface Rule {
  readonly id: string;
  readonly queue: QueueName;
  readonly resource: Resource;
}

const memberBus = 'MemberBus';

/**
 * Returns the rules on the account's own bus and, if there are member accounts, the same rules on a separate bus.
 * Events of member accounts are sent to that bus, so that they trigger nothing else in this account.
 */
export function ruleResources(settings: Settings): Resources {
  const members = settings.memberAccounts;
  const rules = [
    ...rulesOn('default', [account], settings),
    ...(members.length === 0 ? [] : rulesOn(memberBus, members, settings)),
  ];
  return {
    ...Object.fromEntries(rules.map(({ id, resource }) => [id, resource])),
    ...Object.fromEntries(
      queueNames.map((queue) =>
        queuePolicy(
          queueId(queue),
          rules.filter((rule) => rule.queue === queue),
        ),
      ),
    ),
    ...Object.fromEntries([queuePolicy(deadLetterQueueId, rules)]),
    ...(members.length === 0 ? {} : memberBusResources(settings)),
  };
}

function rulesOn(bus: string, accounts: readonly unknown[], settings: Settings): Rule[] {
  const isOwn = bus === 'default';
  return subscriptions(settings.stage).map(({ name, queue, pattern }) => ({
    id: `${logicalId(name)}Rule${isOwn ? '' : bus}`,
    queue,
    resource: {
      Type: 'AWS::Events::Rule',
      Properties: {
        Name: resourceName(settings, name),
        ...(!isOwn && { EventBusName: ref(bus) }),
        EventPattern: restrictTo(pattern, accounts),
        Targets: [
          { Id: queue, Arn: arnOf(queueId(queue)), DeadLetterConfig: { Arn: arnOf(deadLetterQueueId) } },
        ],
      },
    },
  }));
}

/**
 * Allows a queue to accept messages only from its rules. The dead-letter queue accepts the messages that these rules
 * cannot deliver.
 */
function queuePolicy(queue: string, rules: readonly Rule[]): [string, Resource] {
  const send = {
    Sid: 'AllowEventBridgeRules',
    Effect: 'Allow',
    Principal: { Service: 'events.amazonaws.com' },
    Action: ['sqs:SendMessage'],
    Resource: arnOf(queue),
    Condition: { ArnEquals: { 'aws:SourceArn': rules.map(({ id }) => arnOf(id)) } },
  } as const;
  return [
    `${queue}Policy`,
    { Type: 'AWS::SQS::QueuePolicy', Properties: { Queues: [ref(queue)], PolicyDocument: policy([send]) } },
  ];
}

/**
 * Returns the bus for member accounts, with its policy. The rules match only sources that start with `aws.`. Accounts
 * cannot send events with these sources themselves, so a member account can send only events about its own instances.
 */
function memberBusResources(settings: Settings): Resources {
  const put = {
    Sid: 'AllowMemberAccounts',
    Effect: 'Allow',
    Principal: { AWS: settings.memberAccounts.map((id) => sub(`arn:\${AWS::Partition}:iam::${id}:root`)) },
    Action: ['events:PutEvents'],
    Resource: arnOf(memberBus),
  } as const;
  return {
    [memberBus]: { Type: 'AWS::Events::EventBus', Properties: { Name: stackName(settings) } },
    [`${memberBus}Policy`]: {
      Type: 'AWS::Events::EventBusPolicy',
      Properties: { EventBusName: ref(memberBus), StatementId: put.Sid, Statement: put },
    },
  };
}
