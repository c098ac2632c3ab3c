import { account, logicalId, policy, ref, type Resource, type Resources } from './cloudformation';
import { functionMetrics, functionMetric, queueMetric, peermasqMetric, type Metric } from './metrics';
import { resourceName, type Settings } from './settings';

interface Alarm {
  /** Also the heading in the runbook. */
  readonly name: string;
  readonly advice: string;
  readonly metrics: readonly Metric[];
  readonly statistic: 'Sum' | 'Maximum';
  /** Of the metrics m0, m1, …; for one metric not needed. */
  readonly expression?: string;
  readonly comparison: 'atLeast' | 'lessThan';
  readonly threshold: number;
  readonly minutes: number;
  /** That many periods in a row. */
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
        'Events could not be dealt with, or nodes were given up. Read the attribute "reason" of the messages, mend it, run a backfill, then purge the dead-letter queue.',
      metrics: [queueMetric(settings, 'dead-letters', 'ApproximateNumberOfMessagesVisible')],
      statistic: 'Maximum',
      minutes: 5,
    },
    {
      ...whenAboveZero,
      name: 'function-errors',
      advice:
        'A function ended with an error. Events and sweeps are tried again, a backfill is not. The dashboard shows which one, its log the reason.',
      metrics: functionMetrics(settings, 'Errors'),
      expression: 'SUM(METRICS())',
      statistic: 'Sum',
      minutes: 5,
    },
    {
      ...whenAboveZero,
      name: 'function-throttles',
      advice:
        'Lambda had no concurrency left for peermasq. Raise the quota of the account, or free some of it.',
      metrics: functionMetrics(settings, 'Throttles'),
      expression: 'SUM(METRICS())',
      statistic: 'Sum',
      minutes: 5,
      periods: 3,
    },
    {
      ...whenAboveZero,
      name: 'nodes-unproven',
      advice: `Nodes launched more than ${objectiveMinutes} minutes ago have not proven their rules, sweep after sweep: their pods may not reach peered networks. Find out which nodes, and whether their SSM agents are online.`,
      metrics: [peermasqMetric(settings, 'NodesUnproven')],
      statistic: 'Maximum',
      // Each sweep writes one value. Without any the alarm sweep-missing is in charge.
      minutes: sweepMinutes,
      periods: Math.ceil(objectiveMinutes / sweepMinutes),
    },
    {
      ...whenAboveZero,
      name: 'nodes-failed',
      advice:
        'A node refused its rules or could not put them in force. The log entry NodeFailed says why and what to do.',
      metrics: [peermasqMetric(settings, 'NodesFailed')],
      statistic: 'Sum',
      minutes: 5,
    },
    {
      ...whenAboveZero,
      name: 'nodes-held',
      advice:
        'Far fewer routes were found than a node has rules for, so its rules were kept. Find out who removed the routes; if that was meant, run a backfill with allowRouteLoss.',
      metrics: [peermasqMetric(settings, 'NodesHeld')],
      statistic: 'Sum',
      minutes: 5,
    },
    {
      ...whenAboveZero,
      name: 'api-throttles',
      advice:
        'AWS throttles the calls of peermasq. Nothing is lost, but nodes wait longer. See who else uses up the quota, or have it raised.',
      metrics: [peermasqMetric(settings, 'ApiThrottles')],
      statistic: 'Sum',
      threshold: 20,
      minutes: 5,
      periods: 3,
    },
    {
      name: 'sweep-missing',
      advice:
        'No sweep has ended well for a while: lost events and drift go unseen. See whether its schedule is enabled and what its log says.',
      metrics: [
        functionMetric(settings, 'sweep', 'Invocations'),
        functionMetric(settings, 'sweep', 'Errors'),
      ],
      // Without a sweep there are no values at all, and those from before would count instead.
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

/** Not encrypted with the key that AWS keeps for SNS: CloudWatch may not use that one, and alarms would go nowhere. */
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
