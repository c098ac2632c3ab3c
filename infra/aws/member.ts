import { memberRoleName } from '../../shared/aws/names';
import {
  account,
  arnOf,
  logicalId,
  ownArn,
  policy,
  sub,
  trust,
  type Resource,
  type Resources,
} from './cloudformation';
import { subscriptions, restrictTo } from './patterns';
import { memberStatements, clusterPolicies, statementsOf } from './permissions';
import { applyDocument } from './resources';
import { managedPolicyRefs } from './roles';
import { resourceName, roleName, stackName, type Settings } from './settings';

export interface Member {
  readonly stage: string;
  /** The ID of the central account, which runs the functions. */
  readonly central: string;
  readonly launchGate: Settings['launchGate'];
  /** The cluster names in peermasq.yaml. */
  readonly clusters: readonly string[];
  /** The names of the functions that may act in the member account. */
  readonly functions: readonly string[];
  /** The text of the node program. */
  readonly program: string;
}

/**
 * Returns the CloudFormation template for one region of a member account. The stack forwards events to the central
 * account's bus in the same region. It also contains the role and the document that the central functions need.
 */
export function memberTemplate(member: Member) {
  return {
    AWSTemplateFormatVersion: '2010-09-09',
    Description: `peermasq ${member.stage}: serves the nodes of this account from account ${member.central}.`,
    Resources: {
      // The snapshot document is left out, because it would be a second copy of the program.
      Document: applyDocument(member.stage, member.program),
      ...forwardingResources(member),
      ...memberRoleResources(member),
    },
  };
}

function forwardingResources(member: Member): Resources {
  const bus = sub(
    `arn:\${AWS::Partition}:events:\${AWS::Region}:${member.central}:event-bus/${stackName(member)}`,
  );
  const all = subscriptions(member.stage);
  const rules = all.map(({ name, pattern }): [string, Resource] => [
    `${logicalId(name)}Rule`,
    {
      Type: 'AWS::Events::Rule',
      Properties: {
        Name: resourceName(member, name),
        EventPattern: restrictTo(pattern, [account]),
        Targets: [{ Id: 'central', Arn: bus, RoleArn: arnOf('ForwardRole') }],
      },
    },
  ]);
  return {
    ForwardRole: {
      Type: 'AWS::IAM::Role',
      Properties: {
        AssumeRolePolicyDocument: trust(
          { Service: 'events.amazonaws.com' },
          {
            ArnEquals: {
              'aws:SourceArn': all.map(({ name }) => ownArn('events', `rule/${resourceName(member, name)}`)),
            },
          },
        ),
        Policies: [
          {
            PolicyName: 'forward',
            PolicyDocument: policy([
              { Sid: 'Forward', Effect: 'Allow', Action: ['events:PutEvents'], Resource: bus },
            ]),
          },
        ],
      },
    },
    ...Object.fromEntries(rules),
  };
}

/**
 * Returns the role in the member account. The role trusts the functions' roles by name, because a role that is named as
 * a principal must already exist.
 */
function memberRoleResources(member: Member): Resources {
  const arn = (rest: string) => sub(`arn:\${AWS::Partition}:iam::${member.central}:${rest}`);
  const roles = member.functions.map((name) => arn(`role/${roleName(member, name)}`));
  const policies = clusterPolicies(member.clusters, member.launchGate);
  const scope = { stage: member.stage, memberAccounts: [] };
  return {
    ...policies.PushToNodes,
    ...policies.CompleteLaunches,
    MemberRole: {
      Type: 'AWS::IAM::Role',
      Properties: {
        RoleName: sub(memberRoleName(member.stage, '${AWS::Region}')),
        AssumeRolePolicyDocument: trust({ AWS: arn('root') }, { ArnEquals: { 'aws:PrincipalArn': roles } }),
        ManagedPolicyArns: managedPolicyRefs(policies, memberStatements),
        Policies: [{ PolicyName: 'member', PolicyDocument: policy(statementsOf(memberStatements, scope)) }],
      },
    },
  };
}
