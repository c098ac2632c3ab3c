import {
  account,
  arnOf,
  logicalId,
  policy,
  ref,
  region,
  type Resource,
  type Resources,
} from './cloudformation';
import { subscriptions, type Subscription } from './patterns';
import { deadLetters, nodesQueue } from './queues';
import { named, type Settings } from './settings';

const ruleId = ({ name }: Subscription): string => `${logicalId(name)}Rule`;

export function ruleResources(settings: Settings): Resources {
  return {
    ...Object.fromEntries(subscriptions.map((each) => [ruleId(each), rule(each, settings)])),
    [`${nodesQueue}Policy`]: takeFromRules(nodesQueue),
    [`${deadLetters}Policy`]: takeFromRules(deadLetters),
  };
}

function rule({ name, pattern }: Subscription, settings: Settings): Resource {
  return {
    Type: 'AWS::Events::Rule',
    Properties: {
      Name: named(settings, name),
      // A bus may carry events of other accounts and regions too; they are not meant for this stack.
      EventPattern: { ...pattern, account: [account], region: [region] },
      Targets: [{ Id: 'nodes', Arn: arnOf(nodesQueue), DeadLetterConfig: { Arn: arnOf(deadLetters) } }],
    },
  };
}

/** A queue takes messages from the rules and nobody else; the dead-letter queue takes what they cannot deliver. */
function takeFromRules(queue: string): Resource {
  const send = {
    Sid: 'TakeFromRules',
    Effect: 'Allow',
    Principal: { Service: 'events.amazonaws.com' },
    Action: ['sqs:SendMessage'],
    Resource: arnOf(queue),
    Condition: { ArnEquals: { 'aws:SourceArn': subscriptions.map((each) => arnOf(ruleId(each))) } },
  } as const;
  return {
    Type: 'AWS::SQS::QueuePolicy',
    Properties: { Queues: [ref(queue)], PolicyDocument: policy([send]) },
  };
}
