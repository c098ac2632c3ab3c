import { memberRoleName } from '../../shared/aws/names';
import {
  arnOf,
  logicalId,
  ownArn,
  policy,
  ref,
  sub,
  trust,
  type Resource,
  type Resources,
  type Statement,
} from './cloudformation';
import { managedPolicies, reachNodes, serveNodes } from './permissions';
import { consumerOf, queueId, queueNames } from './queues';
import { named, roleName, type Settings } from './settings';

/** A role for each function. They differ in their queue and their log, and share which nodes they reach. */
export function roleResources(settings: Settings, clusters: readonly string[]): Resources {
  const reach = managedPolicies(reachNodes(clusters, settings.launchGate), 'ReachNodes');
  const roles = Object.keys(settings.functions).map((name): [string, Resource] => [
    `${logicalId(name)}Role`,
    {
      Type: 'AWS::IAM::Role',
      Properties: {
        // A name, so that member accounts can say whom they trust.
        RoleName: sub(roleName(settings, name)),
        AssumeRolePolicyDocument: trust({ Service: 'lambda.amazonaws.com' }),
        ManagedPolicyArns: Object.keys(reach).map(ref),
        Policies: [
          {
            PolicyName: 'function',
            PolicyDocument: policy([
              ...serveNodes(settings.stage),
              ...takeFromQueue(name),
              writeLog(named(settings, name)),
              ...enterMembers(settings),
            ]),
          },
        ],
      },
    },
  ]);
  return { ...reach, ...Object.fromEntries(roles) };
}

function takeFromQueue(name: string): Statement[] {
  return queueNames
    .filter((queue) => consumerOf(queue) === name)
    .map((queue) => ({
      Sid: 'TakeFromQueue',
      Effect: 'Allow',
      Action: [
        'sqs:ReceiveMessage',
        'sqs:DeleteMessage',
        'sqs:GetQueueAttributes',
        'sqs:ChangeMessageVisibility',
      ],
      Resource: arnOf(queueId(queue)),
    }));
}

function writeLog(name: string): Statement {
  return {
    Sid: 'WriteLog',
    Effect: 'Allow',
    Action: ['logs:CreateLogStream', 'logs:PutLogEvents'],
    Resource: ownArn('logs', `log-group:/aws/lambda/${name}:*`),
  };
}

function enterMembers(settings: Settings): Statement[] {
  const accounts = settings.memberAccounts;
  if (accounts.length === 0) return [];
  const role = (id: string) =>
    sub(`arn:\${AWS::Partition}:iam::${id}:role/${memberRoleName(settings.stage, '${AWS::Region}')}`);
  return [{ Sid: 'EnterMembers', Effect: 'Allow', Action: ['sts:AssumeRole'], Resource: accounts.map(role) }];
}
