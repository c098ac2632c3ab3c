import type { StatementName } from '../../shared/aws/permissions';
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
import { actionsOf, allow, needsOf, reachPolicies, statementsOf, type ReachPolicies } from './permissions';
import { deadLetters, queueId, queueSettings } from './queues';
import { named, roleName, type Settings } from './settings';

/** A role for each function. */
export function roleResources(settings: Settings, clusters: readonly string[]): Resources {
  const reach = reachPolicies(clusters, settings.launchGate);
  const roles = Object.keys(settings.functions).map((name): [string, Resource] => [
    `${logicalId(name)}Role`,
    {
      Type: 'AWS::IAM::Role',
      Properties: {
        // A name, so that member accounts can say whom they trust.
        RoleName: sub(roleName(settings, name)),
        AssumeRolePolicyDocument: trust({ Service: 'lambda.amazonaws.com' }),
        ManagedPolicyArns: attached(reach, needsOf(name)),
        Policies: [
          {
            PolicyName: 'function',
            PolicyDocument: policy([
              ...statementsOf(needsOf(name), settings, name),
              ...onQueues(name, settings),
              writeLog(named(settings, name)),
            ]),
          },
        ],
      },
    },
  ]);
  return { ...reach.ReachNodes, ...reach.CompleteLaunches, ...Object.fromEntries(roles) };
}

/** References to those of the policies that are needed. */
export function attached(policies: ReachPolicies, needed: readonly StatementName[]): unknown[] {
  return Object.entries(policies)
    .filter(([statement]) => needed.some((one) => one === statement))
    .flatMap(([, resources]) => Object.keys(resources))
    .map(ref);
}

/** A consumer takes from its own queue, and lays in the dead-letter queue what it gives up. */
function onQueues(name: string, settings: Settings): Statement[] {
  const own = queueSettings(settings).find(({ consumer }) => consumer === name);
  if (!own) return [];
  return [
    allow('TakeFromQueue', actionsOf('TakeFromQueue', name), { Resource: arnOf(queueId(own.name)) }),
    allow('GiveUp', actionsOf('GiveUp', name), { Resource: arnOf(deadLetters) }),
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
