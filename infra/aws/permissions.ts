import {
  clusterKeyPrefix,
  clusterValueKeys,
  documentName,
  ruleSetTag,
  statusTag,
} from '../../shared/aws/names';
import { ownArn, policy, region, sub, type Resources, type Statement } from './cloudformation';

/** What serving the nodes of one account takes, but for reaching them. */
export function serveNodes(stage: string): Statement[] {
  return [
    {
      // These actions know no resources; the region is all that can be said.
      Sid: 'LookUpNodesAndRoutes',
      Effect: 'Allow',
      Action: [
        'ec2:DescribeInstances',
        'ec2:DescribeImages',
        'ec2:DescribeVpcs',
        'ec2:DescribeRouteTables',
        'ec2:DescribeVpcPeeringConnections',
        'ssm:DescribeInstanceInformation',
      ],
      Resource: '*',
      Condition: { StringEquals: { 'aws:RequestedRegion': region } },
    },
    {
      // A route may name a list of AWS, or one that another account shares.
      Sid: 'LookUpPrefixLists',
      Effect: 'Allow',
      Action: ['ec2:GetManagedPrefixListEntries'],
      Resource: sub('arn:${AWS::Partition}:ec2:${AWS::Region}:*:prefix-list/*'),
    },
    {
      Sid: 'PushWithDocument',
      Effect: 'Allow',
      Action: ['ssm:SendCommand'],
      Resource: ownArn('ssm', `document/${documentName(stage)}`),
    },
    {
      // These actions know no resources either.
      Sid: 'ReadProofs',
      Effect: 'Allow',
      Action: ['ssm:ListCommandInvocations', 'ssm:GetCommandInvocation'],
      Resource: '*',
      Condition: { StringEquals: { 'aws:RequestedRegion': region } },
    },
    {
      Sid: 'RememberInTags',
      Effect: 'Allow',
      Action: ['ec2:CreateTags'],
      Resource: ownArn('ec2', 'instance/*'),
      Condition: {
        'ForAllValues:StringEquals': { 'aws:TagKeys': [ruleSetTag, statusTag] },
        // ForAllValues is true of a request without any key.
        Null: { 'aws:TagKeys': 'false' },
      },
    },
  ];
}

/**
 * The instances that commands may be sent to: those that carry the tags of a configured cluster.
 * @param clusters as peermasq.yaml names them. No condition can say "any cluster": with `*` every instance
 * of the account and region may be sent the one document.
 */
export function reachNodes(clusters: readonly string[]): Statement[] {
  return ofClusters(clusters).map((condition) => ({
    Effect: 'Allow',
    Action: ['ssm:SendCommand'],
    Resource: ownArn('ec2', 'instance/*'),
    ...(condition !== undefined && { Condition: condition }),
  }));
}

/** Conditions of which any one is enough. Within one, all have to hold, so each tag has its own. */
function ofClusters(clusters: readonly string[]): unknown[] {
  if (clusters.includes('*')) return [undefined];
  return [
    ...clusters.map((name) => ({ Null: { [`ssm:resourceTag/${clusterKeyPrefix}${name}`]: 'false' } })),
    ...clusterValueKeys.flatMap((tag) =>
      inTwenties(clusters).map((names) => ({ StringEquals: { [`ssm:resourceTag/${tag}`]: names } })),
    ),
  ];
}

/** So that no statement outgrows a policy, however long the names. */
const inTwenties = (names: readonly string[]): string[][] =>
  Array.from({ length: Math.ceil(names.length / 20) }, (_, i) => names.slice(i * 20, (i + 1) * 20));

/** IAM quotas: characters in a managed policy (6,144), less its frame, and policies of a role. */
const policyLimit = 6_000;
const policiesLimit = 10;

/**
 * One statement a cluster outgrows a policy, so they are spread over as many as it takes.
 * @throws Error when a role cannot hold them
 */
export function managedPolicies(statements: readonly Statement[], name: string): Resources {
  const packs: Statement[][] = [];
  let room = 0;
  for (const statement of statements) {
    const size = JSON.stringify(statement).length;
    const last = packs.at(-1);
    if (last && size <= room) {
      last.push(statement);
      room -= size;
    } else {
      packs.push([statement]);
      room = policyLimit - size;
    }
  }
  if (packs.length > policiesLimit) {
    throw new Error(
      'peermasq.yaml names more clusters than the policies of one role can hold. Spread them over two stages, or name "*".',
    );
  }
  return Object.fromEntries(
    packs.map((pack, index) => [
      `${name}${index + 1}`,
      { Type: 'AWS::IAM::ManagedPolicy', Properties: { PolicyDocument: policy(pack) } },
    ]),
  );
}
