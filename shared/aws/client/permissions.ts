/**
 * The statements of the functions' policies and the actions that each allows. infra/aws writes the policies from
 * it, and a denied call is told with the statement that should have allowed it.
 */
export const statements = {
  DiscoverNodes: ['ec2:DescribeInstances', 'ec2:DescribeImages'],
  DiscoverRoutes: ['ec2:DescribeVpcs', 'ec2:DescribeRouteTables', 'ec2:DescribeVpcPeeringConnections'],
  DiscoverAgents: ['ssm:DescribeInstanceInformation'],
  DiscoverPrefixLists: ['ec2:GetManagedPrefixListEntries'],
  PushWithDocument: ['ssm:SendCommand'],
  PushToNodes: ['ssm:SendCommand'],
  ReadProofs: ['ssm:ListCommands', 'ssm:ListCommandInvocations', 'ssm:GetCommandInvocation'],
  RecordInTags: ['ec2:CreateTags'],
  CompleteLaunches: ['autoscaling:CompleteLifecycleAction'],
  ConsumeQueue: [
    'sqs:ReceiveMessage',
    'sqs:DeleteMessage',
    'sqs:GetQueueAttributes',
    'sqs:ChangeMessageVisibility',
  ],
  SendToDeadLetterQueue: ['sqs:SendMessage'],
  AssumeMemberRoles: ['sts:AssumeRole'],
} as const;

/**
 * What the command line asks beyond that, with the permissions of whoever runs it. No policy of a function has it;
 * docs/aws.md has the statements for people.
 */
export const operatorStatements = {
  DiagnoseConnections: [
    'ec2:DescribeSubnets',
    'ec2:DescribeNetworkInterfaces',
    'ec2:DescribeSecurityGroups',
    'ec2:DescribeNetworkAcls',
  ],
  SnapshotNodes: ['ssm:SendCommand', 'ssm:GetCommandInvocation'],
  ReadCommands: ['ssm:ListCommands'],
} as const;

export type StatementName = keyof typeof statements;

/** What may be called; no other action compiles. */
export type Action =
  | (typeof statements)[StatementName][number]
  | (typeof operatorStatements)[keyof typeof operatorStatements][number];

/** What to do about a denial. */
export function adviceFor(action: Action, resource: string): string {
  const [functionStatement, operatorStatement] = [statements, operatorStatements].map((all) =>
    statementsIn(all, action),
  );
  const [policyOwner, name] = functionStatement
    ? ['the role that made the call: its', functionStatement]
    : ['whoever runs the command: the', operatorStatement ?? ''];
  return `Allow ${action} on ${resource} in the policy of ${policyOwner} statement ${name} is there for that (docs/aws.md, Permissions).`;
}

/** The statements that allow an action, for people: `PushWithDocument or PushToNodes`. */
function statementsIn(all: Readonly<Record<string, readonly string[]>>, action: Action): string {
  return Object.entries(all)
    .filter(([, actions]) => actions.includes(action))
    .map(([name]) => name)
    .join(' or ');
}
