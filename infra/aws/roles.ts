import {
  arnOf,
  logicalId,
  ownArn,
  policy,
  ref,
  trust,
  type Resource,
  type Resources,
  type Statement,
} from './cloudformation';
import { managedPolicies, reachNodes, serveNodes } from './permissions';
import { consumer, nodesQueue } from './queues';
import { named, type Settings } from './settings';

/** A role for each function. They differ in their queue and their log, and share which nodes they reach. */
export function roleResources(settings: Settings, clusters: readonly string[]): Resources {
  const reach = managedPolicies(reachNodes(clusters), 'ReachNodes');
  const roles = Object.keys(settings.functions).map((name): [string, Resource] => [
    `${logicalId(name)}Role`,
    {
      Type: 'AWS::IAM::Role',
      Properties: {
        AssumeRolePolicyDocument: trust({ Service: 'lambda.amazonaws.com' }),
        ManagedPolicyArns: Object.keys(reach).map(ref),
        Policies: [
          {
            PolicyName: 'function',
            PolicyDocument: policy([
              ...serveNodes(settings.stage),
              ...takeFromQueue(name),
              writeLog(named(settings, name)),
            ]),
          },
        ],
      },
    },
  ]);
  return { ...reach, ...Object.fromEntries(roles) };
}

function takeFromQueue(name: string): Statement[] {
  if (name !== consumer) return [];
  return [
    {
      Sid: 'TakeFromQueue',
      Effect: 'Allow',
      Action: ['sqs:ReceiveMessage', 'sqs:DeleteMessage', 'sqs:GetQueueAttributes'],
      Resource: arnOf(nodesQueue),
    },
  ];
}

function writeLog(name: string): Statement {
  return {
    Sid: 'WriteLog',
    Effect: 'Allow',
    Action: ['logs:CreateLogStream', 'logs:PutLogEvents'],
    Resource: ownArn('logs', `log-group:/aws/lambda/${name}:*`),
  };
}
