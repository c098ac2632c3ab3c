import {
  clusterKeyPrefix,
  clusterValueKeys,
  documentName,
  memberRoleName,
  ruleSetTag,
  statusTag,
} from '../../shared/aws/names';
import { statements, type Action, type StatementName } from '../../shared/aws/client/permissions';
import {
  arnOf,
  ownArn,
  policy,
  region,
  sub,
  type Resource,
  type Resources,
  type Statement,
} from './cloudformation';
import { chunks } from '../../shared/core/util/collections';
import { deadLetterQueueId, queueId, queueFeeding } from './queues';
import type { Settings } from './settings';

/** The permissions for discovery, pushes and proofs. */
const reconcileStatements = [
  'DiscoverNodes',
  'DiscoverRoutes',
  'DiscoverPrefixLists',
  'DiscoverAgents',
  'PushWithDocument',
  'PushToNodes',
  'ReadProofs',
  'RecordInTags',
  'AssumeMemberRoles',
] as const satisfies StatementName[];

const queueStatements = ['ConsumeQueue', 'SendToDeadLetterQueue'] as const satisfies StatementName[];

/** The statements that each function needs. */
const statementsByFunction: Readonly<Record<string, readonly StatementName[]>> = {
  'node-joined': [...reconcileStatements, ...queueStatements, 'CompleteLaunches'],
  'peering-changed': [...reconcileStatements, ...queueStatements],
  // This function only reads and records reports. The other functions push to unproven nodes again.
  'command-finished': [
    'DiscoverNodes',
    'ReadProofs',
    'RecordInTags',
    'AssumeMemberRoles',
    ...queueStatements,
  ],
  sweep: reconcileStatements,
  backfill: reconcileStatements,
};

/** @throws Error if serverless.yml contains a function without an entry here */
export function statementsFor(name: string): readonly StatementName[] {
  const needed = statementsByFunction[name];
  if (needed) return needed;
  throw new Error(
    `serverless.yml has a function ${name}: declare its permissions in infra/aws/permissions.ts`,
  );
}

/** The permissions of the functions in a member account. */
export const memberStatements: readonly StatementName[] = [
  ...reconcileStatements.filter((statement) => statement !== 'AssumeMemberRoles'),
  'CompleteLaunches',
];

interface Scope extends Pick<Settings, 'stage' | 'memberAccounts'> {
  /** The function to which the policy belongs. Absent in a member account, where one policy is for all functions. */
  readonly name?: string;
}

/** The parts of a statement other than Sid and actions, which shared/aws/client/permissions.ts defines. */
type ResourceScope = Pick<Statement, 'Resource' | 'Condition'>;

/** The scope of actions without resource-level permissions. Only their region can be restricted. */
const inRegion: ResourceScope = {
  Resource: '*',
  Condition: { StringEquals: { 'aws:RequestedRegion': region } },
};

const instances = ownArn('ec2', 'instance/*');

/**
 * The resources of each statement, or false if a statement has none. Statements that depend on clusters are in
 * `clusterStatements`.
 */
const resourceScopes = {
  DiscoverNodes: () => inRegion,
  DiscoverRoutes: () => inRegion,
  DiscoverAgents: () => inRegion,
  // A route may refer to a prefix list that AWS manages or that another account shares.
  DiscoverPrefixLists: () => ({
    Resource: sub('arn:${AWS::Partition}:ec2:${AWS::Region}:*:prefix-list/*'),
  }),
  PushWithDocument: ({ stage }) => ({ Resource: ownArn('ssm', `document/${documentName(stage)}`) }),
  ReadProofs: () => inRegion,
  RecordInTags: () => ({
    Resource: instances,
    Condition: {
      'ForAllValues:StringEquals': { 'aws:TagKeys': [ruleSetTag, statusTag] },
      // ForAllValues also matches a request without any tag keys.
      Null: { 'aws:TagKeys': 'false' },
    },
  }),
  AssumeMemberRoles: ({ stage, memberAccounts }) =>
    memberAccounts.length > 0 && {
      Resource: memberAccounts.map((id) =>
        sub(`arn:\${AWS::Partition}:iam::${id}:role/${memberRoleName(stage, '${AWS::Region}')}`),
      ),
    },
  ConsumeQueue: ({ name }) => ({ Resource: arnOf(queueId(queueFeeding(name))) }),
  SendToDeadLetterQueue: () => ({ Resource: arnOf(deadLetterQueueId) }),
} satisfies Partial<Record<StatementName, (scope: Scope) => ResourceScope | false>>;

/** Returns the statements of a policy, except those that depend on clusters. */
export function statementsOf(needed: readonly StatementName[], scope: Scope): Statement[] {
  const hasResourceScope = (statement: StatementName): statement is keyof typeof resourceScopes =>
    statement in resourceScopes;
  return needed.filter(hasResourceScope).flatMap((statement) => {
    const grant = resourceScopes[statement](scope);
    return grant ? [allowStatement(statement, statements[statement], grant)] : [];
  });
}

const allowStatement = (Sid: string, Action: readonly Action[], grant: ResourceScope): Statement => ({
  Sid,
  Effect: 'Allow',
  Action,
  ...grant,
});

/**
 * Returns the statements that are limited to instances or Auto Scaling groups with the tags of a configured cluster.
 * PushToNodes limits the instances to which commands may be sent. CompleteLaunches limits the groups whose launches may
 * be completed.
 * @param clusters the names in peermasq.yaml. No condition can express "any cluster", so `*` means every instance or
 * group of the account and region.
 */
export function clusterStatements(
  statement: 'PushToNodes' | 'CompleteLaunches',
  clusters: readonly string[],
): readonly Statement[] {
  const [resource, tag] =
    statement === 'PushToNodes'
      ? [instances, 'ssm:resourceTag']
      : [ownArn('autoscaling', 'autoScalingGroup:*:autoScalingGroupName/*'), 'autoscaling:ResourceTag'];
  return clusterConditions(clusters, tag).map((condition, index) =>
    allowStatement(`${statement}${index + 1}`, statements[statement], {
      Resource: resource,
      ...(condition !== undefined && { Condition: condition }),
    }),
  );
}

/**
 * Returns conditions of which only one must match. All keys within a condition must match, so each tag has its own
 * condition.
 */
function clusterConditions(clusters: readonly string[], key: string): unknown[] {
  if (clusters.includes('*')) return [undefined];
  return [
    ...clusters.map((name) => ({ Null: { [`${key}/${clusterKeyPrefix}${name}`]: 'false' } })),
    ...clusterValueKeys.flatMap((tag) =>
      chunks(clusters, namesPerStatement).map((names) => ({ StringEquals: { [`${key}/${tag}`]: names } })),
    ),
  ];
}

/**
 * The number of cluster names per statement. At this number, each statement fits in a policy, no matter how long the
 * names are.
 */
const namesPerStatement = 20;

/**
 * Limits derived from the IAM quotas: the number of characters in a managed policy (the quota of 6,144, less room for
 * its wrapper), and the number of policies per role.
 */
const policyLimit = 6_000;
const policiesLimit = 10;

/** The policies that depend on clusters. Every role that needs one of the statements gets all of its policies. */
export type ClusterPolicies = Readonly<Record<'PushToNodes' | 'CompleteLaunches', Resources>>;

/** @throws Error if the policies exceed the quota of a role */
export function clusterPolicies(
  clusters: readonly string[],
  launchGate: Settings['launchGate'],
): ClusterPolicies {
  const policies = {
    PushToNodes: managedPolicies(clusterStatements('PushToNodes', clusters), 'PushToNodes'),
    CompleteLaunches:
      launchGate === 'off'
        ? {}
        : managedPolicies(clusterStatements('CompleteLaunches', clusters), 'CompleteLaunches'),
  };
  if (Object.values(policies).flatMap(Object.keys).length <= policiesLimit) return policies;
  throw new Error(
    'peermasq.yaml names more clusters than the policies of one role can hold. Distribute the clusters over two stages, or use "*".',
  );
}

/**
 * Distributes the statements over several policies, because one statement per cluster can exceed the size of a
 * policy.
 */
function managedPolicies(all: readonly Statement[], name: string): Resources {
  const groups: Statement[][] = [];
  let remaining = 0;
  for (const statement of all) {
    const size = JSON.stringify(statement).length + 1;
    const last = groups.at(-1);
    if (last && size <= remaining) {
      last.push(statement);
      remaining -= size;
    } else {
      groups.push([statement]);
      remaining = policyLimit - size;
    }
  }
  return Object.fromEntries(
    groups.map((pack, index): [string, Resource] => [
      `${name}${index + 1}`,
      { Type: 'AWS::IAM::ManagedPolicy', Properties: { PolicyDocument: policy(pack) } },
    ]),
  );
}
