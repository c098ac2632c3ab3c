import { metricsNamespace, type ApiMetric, type ClusterMetric } from '../../shared/aws/metrics';
import { queueNames } from './queues';
import { named, type Settings } from './settings';

/** A metric as CloudWatch finds it. */
export interface Metric {
  readonly namespace: string;
  readonly name: string;
  readonly dimensions: Readonly<Record<string, string>>;
}

export type OurMetric = ClusterMetric | ApiMetric;

/** Over all clusters of a stage. The functions write them into their log, in the embedded metric format. */
export const ours = ({ stage }: Pick<Settings, 'stage'>, name: OurMetric): Metric => ({
  namespace: metricsNamespace,
  name,
  dimensions: { cloud: 'aws', stage },
});

export const ofFunction = (settings: Settings, name: string, metric: string): Metric => ({
  namespace: 'AWS/Lambda',
  name: metric,
  dimensions: { FunctionName: named(settings, name) },
});

export const ofEachFunction = (settings: Settings, metric: string): Metric[] =>
  Object.keys(settings.functions).map((name) => ofFunction(settings, name, metric));

export const ofQueue = (settings: Settings, name: string, metric: string): Metric => ({
  namespace: 'AWS/SQS',
  name: metric,
  dimensions: { QueueName: named(settings, name) },
});

export const ofEachQueue = (settings: Settings, metric: string): Metric[] =>
  [...queueNames, 'dead-letters'].map((name) => ofQueue(settings, name, metric));
