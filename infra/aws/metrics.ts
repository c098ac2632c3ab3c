import { named, type Settings } from './settings';

/** A metric as CloudWatch finds it. */
export interface Metric {
  readonly namespace: string;
  readonly name: string;
  readonly dimensions: Readonly<Record<string, string>>;
}

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
  ['nodes', 'dead-letters'].map((name) => ofQueue(settings, name, metric));
