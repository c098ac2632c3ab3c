/**
 * The statements of the functions' policies and the actions that each allows. infra/aws writes the policies from
 * it, and a denied call is told with the statement that should have allowed it.
 */
export const statements = {
  LookUpNodes: ['ec2:DescribeInstances', 'ec2:DescribeImages'],
  LookUpRoutes: ['ec2:DescribeVpcs', 'ec2:DescribeRouteTables', 'ec2:DescribeVpcPeeringConnections'],
  LookUpAgents: ['ssm:DescribeInstanceInformation'],
  LookUpPrefixLists: ['ec2:GetManagedPrefixListEntries'],
  PushWithDocument: ['ssm:SendCommand'],
  ReachNodes: ['ssm:SendCommand'],
  ReadProofs: ['ssm:ListCommands', 'ssm:ListCommandInvocations', 'ssm:GetCommandInvocation'],
  RememberInTags: ['ec2:CreateTags'],
  CompleteLaunches: ['autoscaling:CompleteLifecycleAction'],
  TakeFromQueue: [
    'sqs:ReceiveMessage',
    'sqs:DeleteMessage',
    'sqs:GetQueueAttributes',
    'sqs:ChangeMessageVisibility',
  ],
  GiveUp: ['sqs:SendMessage'],
  EnterMembers: ['sts:AssumeRole'],
} as const;

export type StatementName = keyof typeof statements;

/** What the functions may call; no other action compiles. */
export type Action = (typeof statements)[StatementName][number];

/** The statements that allow an action, for people: `PushWithDocument or ReachNodes`. */
export function statementsFor(action: Action): string {
  return Object.entries(statements)
    .filter(([, actions]) => (actions as readonly string[]).includes(action))
    .map(([name]) => name)
    .join(' or ');
}
