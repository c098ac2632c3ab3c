import { metricsNamespace } from '../../shared/aws/names';
import { fewPortsLeftPercent } from '../../shared/core/model/report';
import { sub, type Resources } from './cloudformation';
import { functionMetrics, queueMetrics, peermasqMetric, type Metric, type PeermasqMetric } from './metrics';
import { resourceName, stackName, type Settings } from './settings';

interface Graph {
  readonly title: string;
  readonly metrics: readonly unknown[];
  readonly unit?: string;
  readonly annotations?: unknown;
}

/** Returns one line of a graph, as an entry of a widget's metrics array in CloudWatch. */
function row({ namespace, name, dimensions }: Metric, options: Readonly<Record<string, string>>): unknown[] {
  return [namespace, name, ...Object.entries(dimensions).flat(), options];
}

const graphs = (settings: Settings): readonly Graph[] => {
  const peermasqRow = (name: PeermasqMetric, stat: string, label: string = name) =>
    row(peermasqMetric(settings, name), { stat, label });
  const last = (metric: Metric) => Object.values(metric.dimensions).at(-1) ?? '';
  const byFunction = (metric: string, stat: string) =>
    functionMetrics(settings, metric).map((each) => row(each, { stat, label: last(each) }));
  const byQueue = (metric: string) =>
    queueMetrics(settings, metric).map((each) => row(each, { stat: 'Maximum', label: last(each) }));
  const unprovenByCluster = `SEARCH('{${metricsNamespace},cloud,stage,cluster} MetricName="NodesUnproven" cloud="aws" stage="${settings.stage}"', 'Maximum', 300)`;
  return [
    {
      title: 'Nodes',
      metrics: [
        peermasqRow('NodesProven', 'Sum'),
        peermasqRow('NodesFailed', 'Sum'),
        peermasqRow('NodesHeld', 'Sum'),
      ],
    },
    { title: 'Nodes unproven for too long, by cluster', metrics: [[{ expression: unprovenByCluster }]] },
    {
      title: 'Seconds from event to proof',
      metrics: [
        peermasqRow('SecondsToProven', 'p50', 'median'),
        peermasqRow('SecondsToProven', 'p99', 'p99'),
      ],
      annotations: { horizontal: [{ label: 'objective', value: settings.objectiveMinutes * 60 }] },
    },
    {
      title: 'Source ports in use for one destination, in percent',
      metrics: [peermasqRow('SourcePortsUsedPercent', 'Maximum')],
      annotations: { horizontal: [{ label: 'alarm', value: fewPortsLeftPercent }] },
    },
    { title: 'Messages waiting', metrics: byQueue('ApproximateNumberOfMessagesVisible') },
    { title: 'Age of the oldest message, in seconds', metrics: byQueue('ApproximateAgeOfOldestMessage') },
    { title: 'Calls to AWS', metrics: [peermasqRow('ApiCalls', 'Sum'), peermasqRow('ApiThrottles', 'Sum')] },
    { title: 'Errors of functions', metrics: byFunction('Errors', 'Sum') },
    { title: 'Throttled functions', metrics: byFunction('Throttles', 'Sum') },
    { title: 'Longest run, in milliseconds', metrics: byFunction('Duration', 'Maximum') },
  ];
};

/** Arranges three widgets per row. A dashboard is 24 units wide. */
export function dashboardResources(settings: Settings): Resources {
  const size = { width: 8, height: 6 };
  const widgets = [
    ...graphs(settings).map((graph, index) => ({
      type: 'metric',
      x: (index % 3) * size.width,
      y: Math.floor(index / 3) * size.height,
      ...size,
      properties: { ...graph, region: '${AWS::Region}', period: 300, view: 'timeSeries' },
    })),
    {
      type: 'log',
      x: 0,
      y: 3 * size.height,
      width: 24,
      height: size.height,
      properties: {
        title: 'Errors',
        region: '${AWS::Region}',
        query: failures(settings),
        view: 'table',
      },
    },
  ];
  return {
    Dashboard: {
      Type: 'AWS::CloudWatch::Dashboard',
      Properties: { DashboardName: stackName(settings), DashboardBody: sub(JSON.stringify({ widgets })) },
    },
  };
}

/** Returns a query for CloudWatch Logs Insights. */
function failures(settings: Settings): string {
  const sources = Object.keys(settings.functions).map(
    (name) => `SOURCE '/aws/lambda/${resourceName(settings, name)}'`,
  );
  return [
    ...sources,
    'fields @timestamp, message, cluster, node, code, reason, advice',
    'filter message in ["NodeTimedOut", "NodeFailed", "NodeHeld", "RecordFailed", "ReconcileFailed"] or severity = "ERROR" or level = "ERROR"',
    'sort @timestamp desc',
    'limit 50',
  ].join(' | ');
}
