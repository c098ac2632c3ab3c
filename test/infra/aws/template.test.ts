import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { parseBackfillRequest } from '../../../functions/runtime/backfill-request';
import { statements } from '../../../shared/aws/client/permissions';
import { apiMetrics, clusterMetrics } from '../../../shared/aws/names';
import {
  allOf,
  allowedIn,
  packageService,
  propertiesOf,
  type Json,
  type Packaged,
  type Template,
} from './template';
import { nodeProgram } from '../../lab/node-program';

const config = `clusters:
  frontend: { masquerade: [peerings] }
  backend: { masquerade: [peerings] }
`;

let files: Packaged['files'];
let template: Template;
// Packages the service only once, because packaging takes several seconds.
beforeAll(() => {
  ({ template, files } = packageService(config, {
    alarmEmail: 'ops@example.com',
    objectiveMinutes: '15',
    launchGate: 'continue',
    memberAccounts: '222222222222,333333333333',
  }));
}, 120_000);

const properties = (id: string) => propertiesOf(template, id);
const arn = (service: string, resource: string) =>
  `arn:\${AWS::Partition}:${service}:\${AWS::Region}:\${AWS::AccountId}:${resource}`;

/** Each function that reads from a queue, with the queue and the batch window in seconds. */
const queueConsumers = [
  ['NodeDashjoined', 'NodesQueue', 10],
  ['PeeringDashchanged', 'RoutesQueue', 60],
  ['CommandDashfinished', 'CommandsQueue', 10],
] as const;
const functions = [...queueConsumers.map(([id]) => id), 'Sweep', 'Backfill'];
const members = ['222222222222', '333333333333'];

describe('the deployed functions:', () => {
  test.each(functions)(
    '%s runs on the latest Node.js runtime and arm64, and writes JSON logs that expire',
    (id) => {
      expect(properties(`${id}LambdaFunction`)).toMatchObject({
        Runtime: 'nodejs24.x',
        Architectures: ['arm64'],
        LoggingConfig: { LogFormat: 'JSON' },
        Environment: {
          Variables: {
            PEERMASQ_STAGE: 'test',
            PEERMASQ_OBJECTIVE_MINUTES: '15',
            PEERMASQ_LAUNCH_GATE: 'continue',
            PEERMASQ_MEMBER_ACCOUNTS: members.join(),
            PEERMASQ_DEAD_LETTERS: 'DeadLetterQueue',
          },
        },
      });
      expect(properties(`${id}LogGroup`)).toMatchObject({ RetentionInDays: 30 });
    },
  );

  test.each(queueConsumers.map(([id, queue]) => [id, queue]))('%s has the URL of %s', (id, queue) => {
    expect(properties(`${id}LambdaFunction`)).toMatchObject({
      Environment: { Variables: { PEERMASQ_QUEUE: queue } },
    });
  });

  test('the artifact contains only files that were built for AWS', () => {
    const handlers = functions.map((id) => String(properties(`${id}LambdaFunction`)['Handler']));
    const built = handlers.map((handler) => handler.replace(/\.handler$/, '.js'));
    expect([...files].sort()).toEqual(
      [...new Set([...built, 'dist/aws/peermasq.sh', 'dist/aws/peermasq.yaml'])].sort(),
    );
  });

  test('a sweep ends before the next sweep starts, and is not retried', () => {
    const [[, schedule] = ['', {}]] = allOf(template, 'AWS::Events::Rule').filter(([id]) =>
      id.startsWith('Sweep'),
    );
    expect(schedule).toMatchObject({ ScheduleExpression: 'rate(5 minutes)', State: 'ENABLED' });
    const [{ Input }] = (schedule as { Targets: [{ Input: string }] }).Targets;
    expect(parseBackfillRequest(JSON.parse(Input))).toEqual({
      dryRun: false,
      allowRouteLoss: false,
      skipNewNodes: true,
    });
    expect(properties('SweepLambdaFunction')['Timeout']).toBeLessThan(5 * 60);
    expect(properties('SweepLambdaEvConf')).toMatchObject({ MaximumRetryAttempts: 0 });
  });
});

describe('the deployed queues:', () => {
  test.each(queueConsumers)('%s reads batches from %s and reports failed messages', (id, queue, window) => {
    expect(properties(`${id}EventSourceMappingSQS${queue}`)).toMatchObject({
      EventSourceArn: `${queue}.Arn`,
      FunctionName: `${id}LambdaFunction.Arn`,
      FunctionResponseTypes: ['ReportBatchItemFailures'],
      ScalingConfig: { MaximumConcurrency: 2 },
      BatchSize: 1_000,
      MaximumBatchingWindowInSeconds: window,
    });
    const timeout = Number(properties(`${id}LambdaFunction`)['Timeout']);
    expect(properties(queue)['VisibilityTimeout']).toBe(6 * timeout + window);
  });

  test.each(queueConsumers.map(([, queue]) => queue))(
    '%s is encrypted and has a dead-letter queue',
    (queue) => {
      expect(properties(queue)).toMatchObject({
        SqsManagedSseEnabled: true,
        RedrivePolicy: { deadLetterTargetArn: 'DeadLetterQueue.Arn', maxReceiveCount: 25 },
      });
    },
  );

  test('completion events are delayed by 30 s, because node-joined usually reads the results sooner', () => {
    const delays = queueConsumers.map(([, queue]) => properties(queue)['DelaySeconds']);
    expect(delays).toEqual([0, 0, 30]);
  });

  test('the dead-letter queue is encrypted, keeps messages for 14 days, and is the redrive target only of the other queues', () => {
    expect(properties('DeadLetterQueue')).toMatchObject({
      SqsManagedSseEnabled: true,
      MessageRetentionPeriod: 1_209_600,
      RedriveAllowPolicy: {
        redrivePermission: 'byQueue',
        sourceQueueArns: ['nodes', 'routes', 'commands'].map((name) => arn('sqs', `peermasq-test-${name}`)),
      },
    });
  });

  test('each queue accepts messages only from its own event rules', () => {
    for (const [id, { PolicyDocument, Queues }] of allOf(template, 'AWS::SQS::QueuePolicy')) {
      const queue = id.replace('Policy', '');
      const rules = allOf(template, 'AWS::Events::Rule')
        .filter(([, rule]) => JSON.stringify(rule).includes(`"${queue}.Arn"`))
        .map(([rule]) => `${rule}.Arn`);
      expect(rules).not.toEqual([]);
      expect(Queues).toEqual([queue]);
      expect(allowedIn(PolicyDocument)).toEqual([
        {
          Sid: 'AllowEventBridgeRules',
          Effect: 'Allow',
          Principal: { Service: 'events.amazonaws.com' },
          Action: ['sqs:SendMessage'],
          Resource: `${queue}.Arn`,
          Condition: { ArnEquals: { 'aws:SourceArn': rules } },
        },
      ]);
    }
  });
});

describe('the deployed event rules', () => {
  const names = [
    'InstancesStartedRule',
    'InstanceRunningRule',
    'InstanceLaunchedRule',
    'PeeringChangedRule',
    'CommandFinishedRule',
  ];

  test.each([
    ['the default bus for events from this account', undefined, '', ['AWS::AccountId']],
    ['the bus for members for events from member accounts', 'MemberBus', 'MemberBus', members],
  ])('listen in this region on %s', (_, bus, suffix, accounts) => {
    const rules = allOf(template, 'AWS::Events::Rule').filter(
      ([, { EventPattern, EventBusName }]) => EventPattern !== undefined && EventBusName === bus,
    );
    expect(rules.map(([id]) => id)).toEqual(names.map((name) => name + suffix));
    for (const [, { EventPattern }] of rules) {
      expect(EventPattern).toMatchObject({ account: accounts, region: ['AWS::Region'] });
    }
  });

  test('send events that cannot be delivered to the dead-letter queue', () => {
    const rules = allOf(template, 'AWS::Events::Rule').filter(([id]) => !id.startsWith('Sweep'));
    expect(rules).toHaveLength(2 * names.length);
    for (const [, { Targets }] of rules) {
      expect(Targets).toEqual([
        expect.objectContaining({ DeadLetterConfig: { Arn: 'DeadLetterQueue.Arn' } }),
      ]);
    }
  });
});

describe.each([
  ['Document', 'peermasq-apply-test', 'ruleset', '^H4sI[A-Za-z0-9+/]+={0,2}$'],
  ['SnapshotDocument', 'peermasq-snapshot-test', 'part', '^[0-9]{1,3}$'],
])('%s', (id, name, parameter, allowedPattern) => {
  interface Content {
    readonly mainSteps: readonly [{ readonly inputs: { readonly runCommand: readonly string[] } }];
  }
  const content = () => properties(id)['Content'] as Content;

  test('is small enough for SSM and has only one parameter', () => {
    const { Content: read, ...document } = properties(id);
    expect(document).toEqual({
      Name: name,
      DocumentType: 'Command',
      DocumentFormat: 'JSON',
      TargetType: '/AWS::EC2::Instance',
      UpdateMethod: 'NewVersion',
    });
    expect(JSON.stringify(read).length).toBeLessThan(64 * 1024);
    expect(read).toMatchObject({
      schemaVersion: '2.2',
    });
    expect(read).toHaveProperty('parameters', {
      [parameter]: expect.objectContaining({ allowedPattern, interpolationType: 'ENV_VAR' }),
    });
  });

  test('contains an exact copy of the node program', () => {
    const lines = content().mainSteps[0].inputs.runCommand;
    const packed = lines.slice(lines.findIndex((line) => line.includes("<<'END'")) + 1, lines.indexOf('END'));
    const program = gunzipSync(Buffer.from(packed.join(''), 'base64'));
    expect(program.toString()).toBe(nodeProgram);
  });
});

describe('the deployed permissions:', () => {
  /** The actions for which AWS does not support resource-level permissions (Service Authorization Reference). */
  const withoutResources = [
    'ec2:DescribeInstances',
    'ec2:DescribeImages',
    'ec2:DescribeVpcs',
    'ec2:DescribeRouteTables',
    'ec2:DescribeVpcPeeringConnections',
    'ssm:DescribeInstanceInformation',
    'ssm:ListCommands',
    'ssm:ListCommandInvocations',
    'ssm:GetCommandInvocation',
  ];
  const all = () => Object.values(template).flatMap(({ Properties }) => allowedIn(Properties));
  const actionsIn = (value: unknown) => [...new Set(allowedIn(value).flatMap(({ Action }) => Action))].sort();

  test('no action has a wildcard', () => {
    const actions = actionsIn(template);
    expect(actions.length).toBeGreaterThan(10);
    expect(actions.filter((action) => /[*?]/.test(action))).toEqual([]);
  });

  test('the functions have only the permissions in shared/aws/client/permissions.ts, in statements of the same names, and permissions for logging', () => {
    const roles = allOf(template, 'AWS::IAM::Role').map(([, { Policies }]) => Policies);
    const reach = allOf(template, 'AWS::IAM::ManagedPolicy').map(([, { PolicyDocument }]) => PolicyDocument);
    const granted: Record<string, Set<string>> = {};
    for (const { Sid = '', Action } of allowedIn([roles, reach])) {
      const name = Sid.replace(/[0-9]+$/, '');
      granted[name] = new Set([...(granted[name] ?? []), ...[Action].flat()]);
    }
    const { WriteLog, ...ofTable } = granted;
    expect(ofTable).toEqual(
      Object.fromEntries(Object.entries(statements).map(([name, actions]) => [name, new Set(actions)])),
    );
    expect([...(WriteLog ?? [])]).toEqual(['logs:CreateLogStream', 'logs:PutLogEvents']);
  });

  const serving = [
    'DiscoverNodes',
    'DiscoverRoutes',
    'DiscoverPrefixLists',
    'DiscoverAgents',
    'PushWithDocument',
    'PushToNodes',
    'ReadProofs',
    'RecordInTags',
    'AssumeMemberRoles',
  ];
  test.each([
    ['NodeJoinedRole', [...serving, 'CompleteLaunches', 'ConsumeQueue', 'SendToDeadLetterQueue']],
    ['PeeringChangedRole', [...serving, 'ConsumeQueue', 'SendToDeadLetterQueue']],
    [
      'CommandFinishedRole',
      [
        'DiscoverNodes',
        'ReadProofs',
        'RecordInTags',
        'AssumeMemberRoles',
        'ConsumeQueue',
        'SendToDeadLetterQueue',
      ],
    ],
    ['SweepRole', serving],
    ['BackfillRole', serving],
  ])('%s has exactly the policy statements that its function needs', (role, needed) => {
    const { Policies, ManagedPolicyArns } = properties(role);
    const reach = (ManagedPolicyArns as string[]).map((id) => properties(id));
    const names = allowedIn([Policies, reach]).map(({ Sid }) => Sid?.replace(/[0-9]+$/, ''));
    expect(new Set(names)).toEqual(new Set([...needed, 'WriteLog']));
  });

  test('command-finished has no permission to read routes', () => {
    const { Policies, ManagedPolicyArns } = properties('CommandFinishedRole');
    expect(ManagedPolicyArns).toEqual([]);
    expect(actionsIn(Policies).filter((action) => action.startsWith('ec2:'))).toEqual([
      'ec2:CreateTags',
      'ec2:DescribeImages',
      'ec2:DescribeInstances',
    ]);
  });

  test('only actions without resource-level permissions are allowed for all resources, and only in this region', () => {
    const onAll = all().filter(({ Resource }) => Resource === '*' || [Resource].flat().includes('*'));
    expect(new Set(onAll.flatMap(({ Action }) => Action))).toEqual(new Set(withoutResources));
    for (const { Condition } of onAll) {
      expect(Condition).toEqual({ StringEquals: { 'aws:RequestedRegion': 'AWS::Region' } });
    }
  });

  test('no other accounts have permissions, except that member accounts may send events to the bus for members', () => {
    const byAws = all().filter(({ Principal }) => Principal !== undefined && 'AWS' in (Principal as Json));
    expect(byAws).toEqual([
      expect.objectContaining({ Sid: 'AllowMemberAccounts', Resource: 'MemberBus.Arn' }),
    ]);
    const others = all().filter((statement) => !byAws.includes(statement));
    const principals = new Set(others.map(({ Principal }) => JSON.stringify(Principal ?? null)));
    expect([...principals].sort()).toEqual(
      [null, ...['cloudwatch', 'events', 'lambda'].map((name) => ({ Service: `${name}.amazonaws.com` }))]
        .map((principal) => JSON.stringify(principal))
        .sort(),
    );
  });

  /** Returns all statements that allow the action, without their Sids and without duplicates. */
  const allowing = (action: string) => {
    const found = all().filter(({ Action }) => [Action].flat().includes(action));
    const bare = found.map((statement) => ({ ...statement, Sid: undefined }));
    return [...new Map(bare.map((one) => [JSON.stringify(one), one])).values()];
  };
  const clusters = ['frontend', 'backend'];
  const byTag = (action: string, resource: string, key: string) =>
    [
      ...clusters.map((name) => ({ Null: { [`${key}/kubernetes.io/cluster/${name}`]: 'false' } })),
      ...['eks:cluster-name', 'aws:eks:cluster-name', 'eks:eks-cluster-name', 'KubernetesCluster'].map(
        (tag) => ({ StringEquals: { [`${key}/${tag}`]: clusters } }),
      ),
    ].map((Condition) => ({ Effect: 'Allow', Action: [action], Resource: resource, Condition }));

  test('commands can be sent only with this SSM document, and only to instances with the tags of configured clusters', () => {
    const document = arn('ssm', 'document/peermasq-apply-test');
    const wanted = [
      { Effect: 'Allow', Action: ['ssm:SendCommand'], Resource: document },
      ...byTag('ssm:SendCommand', arn('ec2', 'instance/*'), 'ssm:resourceTag'),
    ];
    expect(new Set(allowing('ssm:SendCommand'))).toEqual(new Set(wanted));
  });

  test('launches can be completed only for Auto Scaling groups with the tags of configured clusters', () => {
    const groups = arn('autoscaling', 'autoScalingGroup:*:autoScalingGroupName/*');
    const action = 'autoscaling:CompleteLifecycleAction';
    expect(new Set(allowing(action))).toEqual(new Set(byTag(action, groups, 'autoscaling:ResourceTag')));
  });

  test("the functions can write only peermasq's tags, and only to instances", () => {
    const tagging = all().filter(({ Action }) => [Action].flat().includes('ec2:CreateTags'));
    expect(tagging).toHaveLength(functions.length);
    for (const { Resource, Condition } of tagging) {
      expect(Resource).toBe(arn('ec2', 'instance/*'));
      expect(Condition).toEqual({
        'ForAllValues:StringEquals': { 'aws:TagKeys': ['peermasq:ruleset', 'peermasq:status'] },
        Null: { 'aws:TagKeys': 'false' },
      });
    }
  });

  test.each([
    ['NodeJoinedRole', 'NodesQueue.Arn', 'node-joined'],
    ['PeeringChangedRole', 'RoutesQueue.Arn', 'peering-changed'],
    ['CommandFinishedRole', 'CommandsQueue.Arn', 'command-finished'],
    ['SweepRole', undefined, 'sweep'],
    ['BackfillRole', undefined, 'backfill'],
  ])('%s reads only its own queue and writes only its own log', (role, queue, name) => {
    const allowed = allowedIn(properties(role));
    const on = (sid: string) => allowed.find(({ Sid }) => Sid === sid)?.Resource;
    expect(on('ConsumeQueue')).toBe(queue);
    expect(on('SendToDeadLetterQueue')).toBe(queue && 'DeadLetterQueue.Arn');
    expect(on('WriteLog')).toBe(arn('logs', `log-group:/aws/lambda/peermasq-test-${name}:*`));
  });

  test('docs/aws.md lists every policy statement with its actions', () => {
    const docs = readFileSync('docs/aws.md', 'utf8');
    const rows = docs.split('\n').filter((line) => line.startsWith('|'));
    for (const [name, actions] of Object.entries(statements)) {
      const row = rows.find((line) => line.startsWith(`| \`${name}\``));
      for (const action of actions) expect(row).toContain(`\`${action}\``);
    }
  });
});

describe('the deployed alarms:', () => {
  const alarms = () => allOf(template, 'AWS::CloudWatch::Alarm').map(([, alarm]) => alarm);
  const alarm = (name: string) =>
    alarms().find(({ AlarmName }) => AlarmName === `peermasq-test-${name}`) as Json & {
      Metrics: { MetricStat?: { Metric: Json; Period: number } }[];
    };
  const watched = (name: string): Json[] =>
    alarm(name).Metrics.flatMap(({ MetricStat }) => (MetricStat ? [MetricStat.Metric] : []));

  test('the description of each alarm says what to do and links to the runbook section', () => {
    const headings = readFileSync('docs/runbook.md', 'utf8').match(/^## (?!gcp-).+$/gm) ?? [];
    const named = alarms().map(({ AlarmName }) => String(AlarmName).replace('peermasq-test-', ''));
    expect(headings.map((heading) => heading.replace('## ', ''))).toEqual(named);
    for (const { AlarmName, AlarmDescription } of alarms()) {
      const name = String(AlarmName).replace('peermasq-test-', '');
      expect(AlarmDescription).toMatch(new RegExp(`^[A-Z].{40,900}\\. docs/runbook\\.md#${name}$`));
    }
  });

  test('each alarm sends a notification to the topic when it starts and when it ends, and the topic sends email', () => {
    for (const { AlarmActions, OKActions } of alarms()) {
      expect([AlarmActions, OKActions]).toEqual([['AlarmTopic'], ['AlarmTopic']]);
    }
    expect(properties('AlarmMail')).toEqual({
      TopicArn: 'AlarmTopic',
      Protocol: 'email',
      Endpoint: 'ops@example.com',
    });
  });

  test.each(['Errors', 'Throttles'])('an alarm monitors the metric %s of all functions', (metric) => {
    const name = metric === 'Errors' ? 'function-errors' : 'function-throttles';
    expect(watched(name)).toEqual(
      ['node-joined', 'peering-changed', 'command-finished', 'sweep', 'backfill'].map((each) => ({
        Namespace: 'AWS/Lambda',
        MetricName: metric,
        Dimensions: [{ Name: 'FunctionName', Value: `peermasq-test-${each}` }],
      })),
    );
  });

  test.each([
    ['nodes-unproven', 'NodesUnproven'],
    ['nodes-failed', 'NodesFailed'],
    ['nodes-held', 'NodesHeld'],
    ['source-ports', 'SourcePortsUsedPercent'],
    ['api-throttles', 'ApiThrottles'],
  ])('%s monitors the metric %s of the stage for all clusters together', (name, metric) => {
    expect(watched(name)).toEqual([
      {
        Namespace: 'peermasq',
        MetricName: metric,
        Dimensions: [
          { Name: 'cloud', Value: 'aws' },
          { Name: 'stage', Value: 'test' },
        ],
      },
    ]);
    expect(alarm(name)).toMatchObject({ TreatMissingData: 'notBreaching' });
  });

  test('one message in the dead-letter queue raises an alarm', () => {
    expect(watched('dead-letters')).toEqual([
      expect.objectContaining({ Dimensions: [{ Name: 'QueueName', Value: 'peermasq-test-dead-letters' }] }),
    ]);
    expect(alarm('dead-letters')).toMatchObject({ Threshold: 1, EvaluationPeriods: 1 });
  });

  test('an alarm is raised if no sweep succeeds', () => {
    expect(alarm('sweep-missing')).toMatchObject({
      TreatMissingData: 'breaching',
      ComparisonOperator: 'LessThanThreshold',
      Threshold: 1,
    });
    expect(watched('sweep-missing').map(({ MetricName }) => MetricName)).toEqual(['Invocations', 'Errors']);
    expect(alarm('sweep-missing').Metrics[0]?.MetricStat?.Period).toBe(3 * 5 * 60);
  });

  test('nodes-unproven is raised only after as many consecutive sweeps as fit into the objective', () => {
    expect(alarm('nodes-unproven')).toMatchObject({
      AlarmDescription: expect.stringContaining('15 minutes') as unknown,
      ComparisonOperator: 'GreaterThanOrEqualToThreshold',
      Threshold: 1,
      EvaluationPeriods: 3,
      Metrics: [{ MetricStat: { Period: 5 * 60, Stat: 'Maximum' } }],
    });
  });
});

test('the dashboard shows every metric and queue, and all widgets fit into its width', () => {
  const body = String(properties('Dashboard')['DashboardBody']);
  const { widgets } = JSON.parse(body) as { widgets: { x: number; width: number }[] };
  for (const shown of [
    ...Object.keys({ ...clusterMetrics, ...apiMetrics }),
    ...['p50', 'p99', 'NodeTimedOut', 'NodeFailed', 'NodeHeld', 'RecordFailed', 'ReconcileFailed'],
    ...['nodes', 'routes', 'commands', 'dead-letters'].map((queue) => `peermasq-test-${queue}`),
    'peermasq-test-sweep',
  ]) {
    expect(body).toContain(shown);
  }
  for (const { x, width } of widgets) expect(x + width).toBeLessThanOrEqual(24);
});
