/** What CloudWatch is told: the functions write it, infra/aws draws it and raises alarms from it. */
export const metricsNamespace = 'peermasq';

/** By stage, and by stage and cluster. */
export const clusterMetrics = {
  NodesProven: 'Count',
  NodesFailed: 'Count',
  NodesHeld: 'Count',
  NodesUnproven: 'Count',
  SecondsToProven: 'Seconds',
} as const;

/** By stage alone: one call serves nodes of many clusters. */
export const apiMetrics = { ApiCalls: 'Count', ApiThrottles: 'Count' } as const;

export type ClusterMetric = keyof typeof clusterMetrics;
export type ApiMetric = keyof typeof apiMetrics;
