/**
 * The policy statements of the functions. They are used in the policies in infra/aws and in the advice for denied
 * calls.
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
 * Additional actions that only the command line calls, with the permissions of the user who runs it. No function has
 * these permissions; docs/cli.md lists them for operators.
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

/** An action that the code may call. Calling any other action is a type error. */
export type Action =
  | (typeof statements)[StatementName][number]
  | (typeof operatorStatements)[keyof typeof operatorStatements][number];

/** Explains how to fix a denied call. */
export function adviceFor(action: Action, resource: string): string {
  const functionStatements = statementsWith(action, statements);
  const allow = `Allow ${action} on ${resource}`;
  return functionStatements === ''
    ? `${allow} in your own policy, with the statement ${statementsWith(action, operatorStatements)} (docs/cli.md, Permissions).`
    : `${allow} in the policy of the role that made the call, with the statement ${functionStatements} (docs/aws.md, Permissions).`;
}

/** `PushWithDocument or PushToNodes` */
function statementsWith(action: Action, all: Readonly<Record<string, readonly string[]>>): string {
  return Object.entries(all)
    .filter(([, actions]) => actions.includes(action))
    .map(([name]) => name)
    .join(' or ');
}
