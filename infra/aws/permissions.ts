import {
  clusterKeyPrefix,
  clusterValueKeys,
  documentName,
  memberRoleName,
  ruleSetTag,
  statusTag,
} from '../../shared/aws/names';
import { statements, type Action, type StatementName } from '../../shared/aws/permissions';
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
import { deadLetters, queueId, queueOf } from './queues';
import type { Settings } from './settings';

/** Looks up nodes, plans, pushes and proves them. */
const serving = [
  'LookUpNodes',
  'LookUpRoutes',
  'LookUpPrefixLists',
  'LookUpAgents',
  'PushWithDocument',
  'ReachNodes',
  'ReadProofs',
  'RememberInTags',
  'EnterMembers',
] as const satisfies StatementName[];

const consuming = ['TakeFromQueue', 'GiveUp'] as const satisfies StatementName[];

/** What each function needs. */
const needs: Readonly<Record<string, readonly StatementName[]>> = {
  'node-joined': [...serving, ...consuming, 'CompleteLaunches'],
  'peering-changed': [...serving, ...consuming],
  // It reads what nodes report and writes it down; whoever is not proven is served again by the others.
  'command-finished': ['LookUpNodes', 'ReadProofs', 'RememberInTags', 'EnterMembers', ...consuming],
  sweep: serving,
  backfill: serving,
};

/** @throws Error when serverless.yml has a function that nobody has said the needs of */
export function needsOf(name: string): readonly StatementName[] {
  const needed = needs[name];
  if (needed) return needed;
  throw new Error(`serverless.yml has a function ${name}: say in infra/aws/permissions.ts what it needs`);
}

/** What a member account allows the functions. */
export const neededInMembers: readonly StatementName[] = [
  ...serving.filter((statement) => statement !== 'EnterMembers'),
  'CompleteLaunches',
];

interface Scope extends Pick<Settings, 'stage' | 'memberAccounts'> {
  /** The function whose policy it is; a member account's is for all of them. */
  readonly name?: string;
}

/** Without the Sid and the actions, which shared/aws/permissions.ts has. */
type Grant = Pick<Statement, 'Resource' | 'Condition'>;

/** These actions know no resources; the region is all that can be said. */
const inRegion: Grant = {
  Resource: '*',
  Condition: { StringEquals: { 'aws:RequestedRegion': region } },
};

const instances = ownArn('ec2', 'instance/*');

/** On what a statement allows its actions; nothing where there is no such thing. For clusters see `reach`. */
const grants = {
  LookUpNodes: () => inRegion,
  LookUpRoutes: () => inRegion,
  LookUpAgents: () => inRegion,
  // A route may name a list of AWS, or one that another account shares.
  LookUpPrefixLists: () => ({
    Resource: sub('arn:${AWS::Partition}:ec2:${AWS::Region}:*:prefix-list/*'),
  }),
  PushWithDocument: ({ stage }) => ({ Resource: ownArn('ssm', `document/${documentName(stage)}`) }),
  ReadProofs: () => inRegion,
  RememberInTags: () => ({
    Resource: instances,
    Condition: {
      'ForAllValues:StringEquals': { 'aws:TagKeys': [ruleSetTag, statusTag] },
      // ForAllValues is true of a request without any key.
      Null: { 'aws:TagKeys': 'false' },
    },
  }),
  EnterMembers: ({ stage, memberAccounts }) =>
    memberAccounts.length > 0 && {
      Resource: memberAccounts.map((id) =>
        sub(`arn:\${AWS::Partition}:iam::${id}:role/${memberRoleName(stage, '${AWS::Region}')}`),
      ),
    },
  TakeFromQueue: ({ name }) => ({ Resource: arnOf(queueId(queueOf(name))) }),
  GiveUp: () => ({ Resource: arnOf(deadLetters) }),
} satisfies Partial<Record<StatementName, (scope: Scope) => Grant | false>>;

/** The statements of a policy, but for those that have to do with clusters. */
export function statementsOf(needed: readonly StatementName[], scope: Scope): Statement[] {
  const isGranted = (statement: StatementName): statement is keyof typeof grants => statement in grants;
  return needed.filter(isGranted).flatMap((statement) => {
    const grant = grants[statement](scope);
    return grant ? [allow(statement, statements[statement], grant)] : [];
  });
}

const allow = (Sid: string, Action: readonly Action[], grant: Grant): Statement => ({
  Sid,
  Effect: 'Allow',
  Action,
  ...grant,
});

/**
 * ReachNodes: the instances that commands may be sent to; CompleteLaunches: the Auto Scaling groups whose
 * launches may be completed. Both are those that carry the tags of a configured cluster.
 * @param clusters as peermasq.yaml names them. No condition can say "any cluster": with `*` it is every
 * instance, or group, of the account and region.
 */
export function reach(
  statement: 'ReachNodes' | 'CompleteLaunches',
  clusters: readonly string[],
): readonly Statement[] {
  const [resource, tag] =
    statement === 'ReachNodes'
      ? [instances, 'ssm:resourceTag']
      : [ownArn('autoscaling', 'autoScalingGroup:*:autoScalingGroupName/*'), 'autoscaling:ResourceTag'];
  return ofClusters(clusters, tag).map((condition, index) =>
    allow(`${statement}${index + 1}`, statements[statement], {
      Resource: resource,
      ...(condition !== undefined && { Condition: condition }),
    }),
  );
}

/** Conditions of which any one is enough. Within one, all have to hold, so each tag has its own. */
function ofClusters(clusters: readonly string[], key: string): unknown[] {
  if (clusters.includes('*')) return [undefined];
  return [
    ...clusters.map((name) => ({ Null: { [`${key}/${clusterKeyPrefix}${name}`]: 'false' } })),
    ...clusterValueKeys.flatMap((tag) =>
      inTwenties(clusters).map((names) => ({ StringEquals: { [`${key}/${tag}`]: names } })),
    ),
  ];
}

/** So that no statement outgrows a policy, however long the names. */
const inTwenties = (names: readonly string[]): string[][] =>
  Array.from({ length: Math.ceil(names.length / 20) }, (_, i) => names.slice(i * 20, (i + 1) * 20));

/** IAM quotas: characters in a managed policy (6,144), less its frame, and policies of a role. */
const policyLimit = 6_000;
const policiesLimit = 10;

/** The policies for `reach`; every role that needs the statement has all of them. */
export type ReachPolicies = Readonly<Record<'ReachNodes' | 'CompleteLaunches', Resources>>;

/** @throws Error when a role cannot hold them */
export function reachPolicies(
  clusters: readonly string[],
  launchGate: Settings['launchGate'],
): ReachPolicies {
  const policies = {
    ReachNodes: managedPolicies(reach('ReachNodes', clusters), 'ReachNodes'),
    CompleteLaunches:
      launchGate === 'off' ? {} : managedPolicies(reach('CompleteLaunches', clusters), 'CompleteLaunches'),
  };
  if (Object.values(policies).flatMap(Object.keys).length <= policiesLimit) return policies;
  throw new Error(
    'peermasq.yaml names more clusters than the policies of one role can hold. Spread them over two stages, or name "*".',
  );
}

/** One statement a cluster outgrows a policy, so they are spread over as many as it takes. */
function managedPolicies(all: readonly Statement[], name: string): Resources {
  const packs: Statement[][] = [];
  let room = 0;
  for (const statement of all) {
    const size = JSON.stringify(statement).length + 1;
    const last = packs.at(-1);
    if (last && size <= room) {
      last.push(statement);
      room -= size;
    } else {
      packs.push([statement]);
      room = policyLimit - size;
    }
  }
  return Object.fromEntries(
    packs.map((pack, index): [string, Resource] => [
      `${name}${index + 1}`,
      { Type: 'AWS::IAM::ManagedPolicy', Properties: { PolicyDocument: policy(pack) } },
    ]),
  );
}
