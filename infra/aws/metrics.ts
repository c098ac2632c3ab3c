import { metricsNamespace, type ApiMetric, type ClusterMetric } from '../../shared/aws/names';
import { queueNames } from './queues';
import { resourceName, type Settings } from './settings';

/** A CloudWatch metric. */
export interface Metric {
  readonly namespace: string;
  readonly name: string;
  readonly dimensions: Readonly<Record<string, string>>;
}

export type PeermasqMetric = ClusterMetric | ApiMetric;

/**
 * Returns a metric over all clusters of a stage. The functions write these metrics to their logs in the embedded
 * metric format.
 */
export const peermasqMetric = ({ stage }: Pick<Settings, 'stage'>, name: PeermasqMetric): Metric => ({
  namespace: metricsNamespace,
  name,
  dimensions: { cloud: 'aws', stage },
});

export const functionMetric = (settings: Settings, name: string, metric: string): Metric => ({
  namespace: 'AWS/Lambda',
  name: metric,
  dimensions: { FunctionName: resourceName(settings, name) },
});

export const functionMetrics = (settings: Settings, metric: string): Metric[] =>
  Object.keys(settings.functions).map((name) => functionMetric(settings, name, metric));

export const queueMetric = (settings: Settings, name: string, metric: string): Metric => ({
  namespace: 'AWS/SQS',
  name: metric,
  dimensions: { QueueName: resourceName(settings, name) },
});

export const queueMetrics = (settings: Settings, metric: string): Metric[] =>
  [...queueNames, 'dead-letters'].map((name) => queueMetric(settings, name, metric));
