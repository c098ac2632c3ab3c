import { readdirSync, readFileSync } from 'node:fs';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { parseBackfillRequest } from '../../../functions/backfill';
import {
  allOf,
  allowedIn,
  packageService,
  propertiesOf,
  type Json,
  type Packaged,
  type Template,
} from './template';

const config = `clusters:
  frontend: { masquerade: [peerings] }
  backend: { masquerade: [peerings] }
`;

let files: Packaged['files'];
let template: Template;
// Another process, which takes some seconds; once for all.
beforeAll(() => {
  ({ template, files } = packageService(config, { alarmEmail: 'ops@example.com' }));
}, 120_000);

const properties = (id: string) => propertiesOf(template, id);
const arn = (service: string, resource: string) =>
  `arn:\${AWS::Partition}:${service}:\${AWS::Region}:\${AWS::AccountId}:${resource}`;

const functions = ['NodeDashjoined', 'Sweep', 'Backfill'];

describe('functions', () => {
  test.each(functions)('%s runs on the newest runtime, on arm64, with logs in JSON that end', (id) => {
    expect(properties(`${id}LambdaFunction`)).toMatchObject({
      Runtime: 'nodejs24.x',
      Architectures: ['arm64'],
      LoggingConfig: { LogFormat: 'JSON' },
      Environment: { Variables: { PEERMASQ_STAGE: 'test' } },
    });
    expect(properties(`${id}LogGroup`)).toMatchObject({ RetentionInDays: 30 });
  });

  test('the artifact has what was built for AWS, and nothing else', () => {
    expect(files).toEqual(
      expect.arrayContaining(
        ['node-joined.js', 'backfill.js', 'peermasq.sh', 'peermasq.yaml'].map((name) => `dist/aws/${name}`),
      ),
    );
    expect(files.filter((name) => !name.startsWith('dist/aws/'))).toEqual([]);
  });

  test('a sweep ends before the next one begins, and is not tried again', () => {
    const [[, schedule] = ['', {}]] = allOf(template, 'AWS::Events::Rule').filter(([id]) =>
      id.startsWith('Sweep'),
    );
    expect(schedule).toMatchObject({ ScheduleExpression: 'rate(5 minutes)', State: 'ENABLED' });
    const [{ Input }] = (schedule as { Targets: [{ Input: string }] }).Targets;
    expect(parseBackfillRequest(JSON.parse(Input))).toEqual({ dryRun: false });
    expect(properties('SweepLambdaFunction')['Timeout']).toBeLessThan(5 * 60);
    expect(properties('SweepLambdaEvConf')).toMatchObject({ MaximumRetryAttempts: 0 });
  });
});

describe('queues', () => {
  test('node-joined takes batches from its queue and names what failed', () => {
    const { BatchSize, MaximumBatchingWindowInSeconds, ...mapping } = properties(
      'NodeDashjoinedEventSourceMappingSQSNodesQueue',
    );
    expect(mapping).toMatchObject({
      EventSourceArn: 'NodesQueue.Arn',
      FunctionName: 'NodeDashjoinedLambdaFunction.Arn',
      FunctionResponseTypes: ['ReportBatchItemFailures'],
      ScalingConfig: { MaximumConcurrency: 2 },
    });
    expect(BatchSize).toBe(1_000);
    expect(MaximumBatchingWindowInSeconds).toBeGreaterThanOrEqual(1);
    const timeout = Number(properties('NodeDashjoinedLambdaFunction')['Timeout']);
    expect(properties('NodesQueue')['VisibilityTimeout']).toBeGreaterThanOrEqual(
      6 * timeout + Number(MaximumBatchingWindowInSeconds),
    );
  });

  test('the queue is encrypted and gives up into the dead-letter queue', () => {
    expect(properties('NodesQueue')).toMatchObject({
      SqsManagedSseEnabled: true,
      RedrivePolicy: { deadLetterTargetArn: 'DeadLetterQueue.Arn' },
    });
  });

  test('the dead-letter queue is encrypted, keeps messages for 14 days, and takes them from that queue only', () => {
    expect(properties('DeadLetterQueue')).toMatchObject({
      SqsManagedSseEnabled: true,
      MessageRetentionPeriod: 1_209_600,
      RedriveAllowPolicy: {
        redrivePermission: 'byQueue',
        sourceQueueArns: [arn('sqs', 'peermasq-test-nodes')],
      },
    });
  });

  test('each takes messages from its own rules only', () => {
    for (const [id, { PolicyDocument, Queues }] of allOf(template, 'AWS::SQS::QueuePolicy')) {
      const queue = id.replace('Policy', '');
      const rules = allOf(template, 'AWS::Events::Rule')
        .filter(([, rule]) => JSON.stringify(rule).includes(`"${queue}.Arn"`))
        .map(([rule]) => `${rule}.Arn`);
      expect(rules).not.toEqual([]);
      expect(Queues).toEqual([queue]);
      expect(allowedIn(PolicyDocument)).toEqual([
        {
          Sid: 'TakeFromRules',
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

test('rules listen to this account and region, and keep what they cannot deliver', () => {
  const rules = allOf(template, 'AWS::Events::Rule').filter(
    ([, { EventPattern }]) => EventPattern !== undefined,
  );
  expect(rules.map(([id]) => id)).toEqual(['InstancesStartedRule', 'InstanceRunningRule']);
  for (const [, { EventPattern, Targets }] of rules) {
    expect(EventPattern).toMatchObject({ account: ['AWS::AccountId'], region: ['AWS::Region'] });
    expect(Targets).toEqual([expect.objectContaining({ DeadLetterConfig: { Arn: 'DeadLetterQueue.Arn' } })]);
  }
});

test('the document is small enough for SSM and takes nothing but a packed rule set', () => {
  const { Content, ...document } = properties('Document');
  expect(document).toEqual({
    Name: 'peermasq-apply-test',
    DocumentType: 'Command',
    DocumentFormat: 'JSON',
    TargetType: '/AWS::EC2::Instance',
    UpdateMethod: 'NewVersion',
  });
  expect(JSON.stringify(Content).length).toBeLessThan(64 * 1024);
  expect(Content).toMatchObject({
    schemaVersion: '2.2',
    parameters: {
      ruleset: { allowedPattern: '^H4sI[A-Za-z0-9+/]+={0,2}$', interpolationType: 'ENV_VAR' },
    },
  });
});

describe('permissions', () => {
  /** Actions that know no resources (Service Authorization Reference). */
  const withoutResources = [
    'ec2:DescribeInstances',
    'ec2:DescribeImages',
    'ec2:DescribeVpcs',
    'ec2:DescribeRouteTables',
    'ec2:DescribeVpcPeeringConnections',
    'ssm:DescribeInstanceInformation',
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

  test('everything is allowed on actions that know no resources alone, and in this region', () => {
    const onAll = all().filter(({ Resource }) => Resource === '*' || [Resource].flat().includes('*'));
    expect(new Set(onAll.flatMap(({ Action }) => Action))).toEqual(new Set(withoutResources));
    for (const { Condition } of onAll) {
      expect(Condition).toEqual({ StringEquals: { 'aws:RequestedRegion': 'AWS::Region' } });
    }
  });

  test('nobody is allowed anything from outside this account', () => {
    const principals = new Set(all().map(({ Principal }) => JSON.stringify(Principal ?? null)));
    expect([...principals].sort()).toEqual(
      [null, ...['cloudwatch', 'events', 'lambda'].map((name) => ({ Service: `${name}.amazonaws.com` }))]
        .map((principal) => JSON.stringify(principal))
        .sort(),
    );
  });

  test('commands are sent with this document only, to instances with the tags of configured clusters only', () => {
    const instances = arn('ec2', 'instance/*');
    const sends = all().filter(({ Action }) => [Action].flat().includes('ssm:SendCommand'));
    const distinct = [...new Map(sends.map((one) => [JSON.stringify(one), one])).values()];
    const byTag = (Condition: Json) => ({
      Effect: 'Allow',
      Action: ['ssm:SendCommand'],
      Resource: instances,
      Condition,
    });
    const clusters = ['frontend', 'backend'];
    expect(distinct).toEqual(
      expect.arrayContaining([
        {
          Sid: 'PushWithDocument',
          Effect: 'Allow',
          Action: ['ssm:SendCommand'],
          Resource: arn('ssm', 'document/peermasq-apply-test'),
        },
        byTag({ Null: { 'ssm:resourceTag/kubernetes.io/cluster/frontend': 'false' } }),
        byTag({ Null: { 'ssm:resourceTag/kubernetes.io/cluster/backend': 'false' } }),
        byTag({ StringEquals: { 'ssm:resourceTag/eks:cluster-name': clusters } }),
        byTag({ StringEquals: { 'ssm:resourceTag/aws:eks:cluster-name': clusters } }),
        byTag({ StringEquals: { 'ssm:resourceTag/eks:eks-cluster-name': clusters } }),
        byTag({ StringEquals: { 'ssm:resourceTag/KubernetesCluster': clusters } }),
      ]),
    );
    expect(distinct).toHaveLength(7);
  });

  test('tags are written to instances only, and only those of peermasq', () => {
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
    ['SweepRole', undefined, 'sweep'],
    ['BackfillRole', undefined, 'backfill'],
  ])('%s reads its own queue and writes its own log', (role, queue, name) => {
    const statements = allowedIn(properties(role));
    const on = (sid: string) => statements.find(({ Sid }) => Sid === sid)?.Resource;
    expect(on('TakeFromQueue')).toBe(queue);
    expect(on('WriteLog')).toBe(arn('logs', `log-group:/aws/lambda/peermasq-test-${name}:*`));
  });

  test('each function may call what the code calls, and nothing that it does not', () => {
    const code = readdirSync('shared/aws').map((name) => readFileSync(`shared/aws/${name}`, 'utf8'));
    const called = code.flatMap((text) => text.match(/(?<=call\(\s*')(ec2|ssm):\w+(?=')/g) ?? []);
    const reach = allOf(template, 'AWS::IAM::ManagedPolicy').map(([, { PolicyDocument }]) => PolicyDocument);
    for (const [, role] of allOf(template, 'AWS::IAM::Role')) {
      const allowed = actionsIn([role, reach]).filter((action) => /^(ec2|ssm):/.test(action));
      expect(allowed).toEqual([...new Set(called)].sort());
    }
  });

  test('docs/aws.md names every statement and its actions', () => {
    const docs = readFileSync('docs/aws.md', 'utf8');
    const rows = docs.split('\n').filter((line) => line.startsWith('|'));
    const roles = allOf(template, 'AWS::IAM::Role').flatMap(([, role]) => allowedIn(role));
    for (const { Sid, Action } of roles.filter(({ Sid: sid }) => sid !== undefined)) {
      const row = rows.find((line) => line.includes(`\`${Sid ?? ''}\``));
      for (const action of Action) expect(row).toContain(`\`${action}\``);
    }
  });
});

describe('alarms', () => {
  const alarms = () => allOf(template, 'AWS::CloudWatch::Alarm').map(([, alarm]) => alarm);
  const alarm = (name: string) =>
    alarms().find(({ AlarmName }) => AlarmName === `peermasq-test-${name}`) as Json & {
      Metrics: { MetricStat?: { Metric: Json; Period: number } }[];
    };
  const watched = (name: string): Json[] =>
    alarm(name).Metrics.flatMap(({ MetricStat }) => (MetricStat ? [MetricStat.Metric] : []));

  test('each says what to do and links a section of the runbook', () => {
    const headings = readFileSync('docs/runbook.md', 'utf8').match(/^## .+$/gm) ?? [];
    const named = alarms().map(({ AlarmName }) => String(AlarmName).replace('peermasq-test-', ''));
    expect(headings.map((heading) => heading.replace('## ', ''))).toEqual(named);
    for (const { AlarmName, AlarmDescription } of alarms()) {
      const name = String(AlarmName).replace('peermasq-test-', '');
      expect(AlarmDescription).toMatch(new RegExp(`^[A-Z].{40,900}\\. docs/runbook\\.md#${name}$`));
    }
  });

  test('each tells the topic when it begins and ends, and the topic sends a mail', () => {
    for (const { AlarmActions, OKActions } of alarms()) {
      expect([AlarmActions, OKActions]).toEqual([['AlarmTopic'], ['AlarmTopic']]);
    }
    expect(properties('AlarmMail')).toEqual({
      TopicArn: 'AlarmTopic',
      Protocol: 'email',
      Endpoint: 'ops@example.com',
    });
  });

  test.each(['Errors', 'Throttles'])('%s of every function are watched', (metric) => {
    const name = metric === 'Errors' ? 'function-errors' : 'function-throttles';
    expect(watched(name)).toEqual(
      ['node-joined', 'sweep', 'backfill'].map((each) => ({
        Namespace: 'AWS/Lambda',
        MetricName: metric,
        Dimensions: [{ Name: 'FunctionName', Value: `peermasq-test-${each}` }],
      })),
    );
  });

  test('one message in the dead-letter queue is enough', () => {
    expect(watched('dead-letters')).toEqual([
      expect.objectContaining({ Dimensions: [{ Name: 'QueueName', Value: 'peermasq-test-dead-letters' }] }),
    ]);
    expect(alarm('dead-letters')).toMatchObject({ Threshold: 1, EvaluationPeriods: 1 });
  });

  test('silence of the sweep is an alarm', () => {
    expect(alarm('sweep-missing')).toMatchObject({
      TreatMissingData: 'breaching',
      ComparisonOperator: 'LessThanThreshold',
      Threshold: 1,
    });
    expect(watched('sweep-missing').map(({ MetricName }) => MetricName)).toEqual(['Invocations', 'Errors']);
    expect(alarm('sweep-missing').Metrics[0]?.MetricStat?.Period).toBe(3 * 5 * 60);
  });
});

test('the dashboard shows every metric and queue, within its width', () => {
  const body = String(properties('Dashboard')['DashboardBody']);
  const { widgets } = JSON.parse(body) as { widgets: { x: number; width: number }[] };
  for (const shown of ['peermasq-test-nodes', 'peermasq-test-dead-letters', 'peermasq-test-sweep']) {
    expect(body).toContain(shown);
  }
  for (const { x, width } of widgets) expect(x + width).toBeLessThanOrEqual(24);
});
