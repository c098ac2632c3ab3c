import type { StatementName } from '../../shared/aws/client/permissions';
import {
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
import { statementsFor, clusterPolicies, statementsOf, type ClusterPolicies } from './permissions';
import { resourceName, roleName, type Settings } from './settings';

/** Returns one role per function. */
export function roleResources(settings: Settings, clusters: readonly string[]): Resources {
  const policies = clusterPolicies(clusters, settings.launchGate);
  const roles = Object.keys(settings.functions).map((name): [string, Resource] => [
    `${logicalId(name)}Role`,
    {
      Type: 'AWS::IAM::Role',
      Properties: {
        // The role has a fixed name, so that member accounts can trust it.
        RoleName: sub(roleName(settings, name)),
        AssumeRolePolicyDocument: trust({ Service: 'lambda.amazonaws.com' }),
        ManagedPolicyArns: managedPolicyRefs(policies, statementsFor(name)),
        Policies: [
          {
            PolicyName: 'function',
            PolicyDocument: policy([
              ...statementsOf(statementsFor(name), { ...settings, name }),
              writeLog(resourceName(settings, name)),
            ]),
          },
        ],
      },
    },
  ]);
  return { ...policies.PushToNodes, ...policies.CompleteLaunches, ...Object.fromEntries(roles) };
}

/** Returns references to the policies that contain the needed statements. */
export function managedPolicyRefs(policies: ClusterPolicies, needed: readonly StatementName[]): unknown[] {
  return Object.entries(policies)
    .filter(([statement]) => needed.some((one) => one === statement))
    .flatMap(([, resources]) => Object.keys(resources))
    .map(ref);
}

function writeLog(name: string): Statement {
  return {
    Sid: 'WriteLog',
    Effect: 'Allow',
    Action: ['logs:CreateLogStream', 'logs:PutLogEvents'],
    Resource: ownArn('logs', `log-group:/aws/lambda/${name}:*`),
  };
}
