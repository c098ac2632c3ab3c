import { account, logicalId, policy, ref, type Resource, type Resources } from './cloudformation';
import { functionMetrics, functionMetric, queueMetric, peermasqMetric, type Metric } from './metrics';
import { fewPortsLeftPercent } from '../../shared/core/model/report';
import { resourceName, type Settings } from './settings';

interface Alarm {
  /** The name of the alarm, which is also its heading in the runbook. */
  readonly name: string;
  readonly advice: string;
  readonly metrics: readonly Metric[];
  readonly statistic: 'Sum' | 'Maximum';
  /** An expression over the metrics m0, m1, …. Absent if there is only one metric. */
  readonly expression?: string;
  readonly comparison: 'atLeast' | 'lessThan';
  readonly threshold: number;
  readonly minutes: number;
  /** The number of consecutive periods in which the threshold must be crossed. */
  readonly periods?: number;
  readonly treatMissingData: 'notBreaching' | 'breaching';
}

const alarms = (settings: Settings): readonly Alarm[] => {
  const { objectiveMinutes, sweepMinutes } = settings;
  const whenAboveZero = { comparison: 'atLeast', threshold: 1, treatMissingData: 'notBreaching' } as const;
  return [
    {
      ...whenAboveZero,
      name: 'dead-letters',
      advice:
        'Events could not be handled, or nodes were not proven in time. Read the "reason" attribute of the messages, fix the cause, run a backfill, then purge the dead-letter queue.',
      metrics: [queueMetric(settings, 'dead-letters', 'ApproximateNumberOfMessagesVisible')],
      statistic: 'Maximum',
      minutes: 5,
    },
    {
      ...whenAboveZero,
      name: 'function-errors',
      advice:
        'A function failed. Events and sweeps are retried, but manual backfills are not. The dashboard shows which function failed, and its log shows why.',
      metrics: functionMetrics(settings, 'Errors'),
      expression: 'SUM(METRICS())',
      statistic: 'Sum',
      minutes: 5,
    },
    {
      ...whenAboveZero,
      name: 'function-throttles',
      advice:
        'Lambda had no concurrency left for peermasq. Raise the quota of the account, or reduce the concurrency of other functions.',
      metrics: functionMetrics(settings, 'Throttles'),
      expression: 'SUM(METRICS())',
      statistic: 'Sum',
      minutes: 5,
      periods: 3,
    },
    {
      ...whenAboveZero,
      name: 'nodes-unproven',
      advice: `Nodes launched more than ${objectiveMinutes} minutes ago have not proven their rules in consecutive sweeps: their pods may not reach peered networks. Find the nodes, and check whether their SSM agents are online.`,
      metrics: [peermasqMetric(settings, 'NodesUnproven')],
      statistic: 'Maximum',
      // Each sweep writes one value. If no values are written, the alarm sweep-missing fires instead.
      minutes: sweepMinutes,
      periods: Math.ceil(objectiveMinutes / sweepMinutes),
    },
    {
      ...whenAboveZero,
      name: 'nodes-failed',
      advice:
        'A node refused its rules or could not apply them. The log entry NodeFailed contains the reason and says what to do.',
      metrics: [peermasqMetric(settings, 'NodesFailed')],
      statistic: 'Sum',
      minutes: 5,
    },
    {
      ...whenAboveZero,
      name: 'nodes-held',
      advice:
        'Discovery found far fewer routes than a node has rules for, so the node keeps its rules. Find out why the routes are gone. If the change is intended, run a backfill with allowRouteLoss.',
      metrics: [peermasqMetric(settings, 'NodesHeld')],
      statistic: 'Sum',
      minutes: 5,
    },
    {
      ...whenAboveZero,
      name: 'source-ports',
      advice:
        'One node has many connections to one destination. When its source ports run out, new connections fail. Reuse connections, spread the pods over more nodes or the destination over more addresses, or add routes to the pods at the peer.',
      metrics: [peermasqMetric(settings, 'SourcePortsUsedPercent')],
      statistic: 'Maximum',
      threshold: fewPortsLeftPercent,
      minutes: 5,
    },
    {
      ...whenAboveZero,
      name: 'api-throttles',
      advice:
        "AWS throttles peermasq's calls. No events are lost, but nodes wait longer. Find out what uses up the quota, or request a higher quota.",
      metrics: [peermasqMetric(settings, 'ApiThrottles')],
      statistic: 'Sum',
      threshold: 20,
      minutes: 5,
      periods: 3,
    },
    {
      name: 'sweep-missing',
      advice:
        'No sweep succeeded for three intervals, so lost events and drift go unnoticed. Check that the schedule of the sweep is enabled, and read its log.',
      metrics: [
        functionMetric(settings, 'sweep', 'Invocations'),
        functionMetric(settings, 'sweep', 'Errors'),
      ],
      // FILL is needed because a period without a sweep has no values, and CloudWatch would evaluate values from before
      // that period instead.
      expression: 'FILL(m0, 0) - FILL(m1, 0)',
      statistic: 'Sum',
      comparison: 'lessThan',
      threshold: 1,
      minutes: 3 * sweepMinutes,
      treatMissingData: 'breaching',
    },
  ];
};

const topic = 'AlarmTopic';

export function alarmResources(settings: Settings): Resources {
  return {
    ...topicResources(settings),
    ...Object.fromEntries(
      alarms(settings).map((alarm) => [`${logicalId(alarm.name)}Alarm`, alarmResource(alarm, settings)]),
    ),
  };
}

function alarmResource(alarm: Alarm, settings: Settings): Resource {
  return {
    Type: 'AWS::CloudWatch::Alarm',
    Properties: {
      AlarmName: resourceName(settings, alarm.name),
      AlarmDescription: `${alarm.advice} ${settings.runbook}#${alarm.name}`,
      Metrics: [
        ...alarm.metrics.map(({ namespace, name, dimensions }, index) => ({
          Id: `m${index}`,
          MetricStat: {
            Metric: {
              Namespace: namespace,
              MetricName: name,
              Dimensions: Object.entries(dimensions).map(([Name, Value]) => ({ Name, Value })),
            },
            Period: alarm.minutes * 60,
            Stat: alarm.statistic,
          },
          ReturnData: alarm.expression === undefined,
        })),
        ...(alarm.expression === undefined
          ? []
          : [{ Id: 'result', Expression: alarm.expression, ReturnData: true }]),
      ],
      ComparisonOperator:
        alarm.comparison === 'atLeast' ? 'GreaterThanOrEqualToThreshold' : 'LessThanThreshold',
      Threshold: alarm.threshold,
      EvaluationPeriods: alarm.periods ?? 1,
      TreatMissingData: alarm.treatMissingData,
      AlarmActions: [ref(topic)],
      OKActions: [ref(topic)],
    },
  };
}

/**
 * The topic is not encrypted with the AWS managed key for SNS. CloudWatch may not use that key, so alarms would not
 * be delivered.
 */
function topicResources(settings: Settings): Resources {
  const publish = {
    Sid: 'AllowCloudWatchAlarms',
    Effect: 'Allow',
    Principal: { Service: 'cloudwatch.amazonaws.com' },
    Action: ['sns:Publish'],
    Resource: ref(topic),
    Condition: { StringEquals: { 'aws:SourceAccount': account } },
  } as const;
  return {
    [topic]: { Type: 'AWS::SNS::Topic', Properties: { TopicName: resourceName(settings, 'alarms') } },
    [`${topic}Policy`]: {
      Type: 'AWS::SNS::TopicPolicy',
      Properties: { Topics: [ref(topic)], PolicyDocument: policy([publish]) },
    },
    ...(settings.alarmEmail !== '' && {
      AlarmMail: {
        Type: 'AWS::SNS::Subscription',
        Properties: { TopicArn: ref(topic), Protocol: 'email', Endpoint: settings.alarmEmail },
      },
    }),
  };
}
