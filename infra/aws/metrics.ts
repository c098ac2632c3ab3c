import { named, type Settings } from './settings';
import { queueNames } from './queues';

/** A metric as CloudWatch finds it. */
export interface Metric {
  readonly namespace: string;
  readonly name: string;
  readonly dimensions: Readonly<Record<string, string>>;
}

export type OurMetric =
  | 'NodesProven'
  | 'NodesFailed'
  | 'NodesHeld'
  | 'NodesUnproven'
  | 'SecondsToProven'
  | 'ApiCalls'
  | 'ApiThrottles';

/** Over all clusters of a stage. The functions write them into their log, in the embedded metric format. */
export const ours = ({ stage }: Pick<Settings, 'stage'>, name: OurMetric): Metric => ({
  namespace: 'peermasq',
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
