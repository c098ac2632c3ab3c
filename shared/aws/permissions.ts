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

/**
 * What the command line asks beyond that, with the permissions of whoever runs it. No policy of a function has it;
 * docs/aws.md has the statements for people.
 */
export const inspections = {
  DiagnoseWays: [
    'ec2:DescribeSubnets',
    'ec2:DescribeNetworkInterfaces',
    'ec2:DescribeSecurityGroups',
    'ec2:DescribeNetworkAcls',
  ],
  LookAtNodes: ['ssm:SendCommand', 'ssm:GetCommandInvocation'],
  ReadCommands: ['ssm:ListCommands'],
} as const;

export type StatementName = keyof typeof statements;

/** What may be called; no other action compiles. */
export type Action =
  (typeof statements)[StatementName][number] | (typeof inspections)[keyof typeof inspections][number];

/** What to do about a denial. */
export function adviceFor(action: Action, resource: string): string {
  const [ofFunctions, ofPeople] = [statements, inspections].map((all) => statementsIn(all, action));
  const [whose, name] = ofFunctions
    ? ['the role that made the call: its', ofFunctions]
    : ['whoever runs the command: the', ofPeople ?? ''];
  return `Allow ${action} on ${resource} in the policy of ${whose} statement ${name} is there for that (docs/aws.md, Permissions).`;
}

/** The statements that allow an action, for people: `PushWithDocument or ReachNodes`. */
function statementsIn(all: Readonly<Record<string, readonly string[]>>, action: Action): string {
  return Object.entries(all)
    .filter(([, actions]) => actions.includes(action))
    .map(([name]) => name)
    .join(' or ');
}
