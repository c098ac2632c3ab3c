/** Names in AWS that the functions, the documents, the policies and the dashboard share. */

export const ruleSetTag = 'peermasq:ruleset';
export const statusTag = 'peermasq:status';

/** A tag with the cluster name in its key. */
export const clusterKeyPrefix = 'kubernetes.io/cluster/';

/** Tags with the cluster name as their value: EKS, EKS managed node groups, Karpenter, kOps and older clusters. */
export const clusterValueKeys = [
  'eks:cluster-name',
  'aws:eks:cluster-name',
  'eks:eks-cluster-name',
  'KubernetesCluster',
];

/** Tags of control-plane nodes: kOps, by key alone, and Cluster API. EKS has none in the account. */
export const controlPlaneTags: readonly (readonly [key: string, value?: string])[] = [
  ['k8s.io/role/control-plane'],
  ['k8s.io/role/master'],
  ['sigs.k8s.io/cluster-api-provider-aws/role', 'control-plane'],
];

export function documentName(stage: string): string {
  return `peermasq-apply-${stage}`;
}

export function snapshotDocumentName(stage: string): string {
  return `peermasq-snapshot-${stage}`;
}

/** The role that the functions assume in a member account. */
export function memberRoleName(stage: string, region: string): string {
  return `peermasq-${stage}-${region}-member`;
}

/** Only launch lifecycle hooks with this prefix are completed. */
export const launchHookPrefix = 'peermasq';

/** The only parameters of the two documents. */
export const ruleSetParameter = 'ruleset';
export const partParameter = 'part';

/**
 * A rule set as `packRuleSet` returns it: base64 of gzip. It contains no character that is special in a shell, because
 * older SSM agents paste parameters into the script.
 */
export const packedPattern = '^H4sI[A-Za-z0-9+/]+={0,2}$';

/** The part of a snapshot, from 0. */
export const partPattern = '^[0-9]{1,3}$';

/** Characters. SSM documents no limit for a parameter; Linux allows 128 KiB for a variable. */
export const packedLimit = 60_000;

export const metricsNamespace = 'peermasq';

/** By stage, and by stage and cluster. */
export const clusterMetrics = {
  NodesProven: 'Count',
  NodesFailed: 'Count',
  NodesHeld: 'Count',
  NodesUnproven: 'Count',
  SecondsToProven: 'Seconds',
  SourcePortsUsedPercent: 'Percent',
} as const;

/** By stage only, because one call concerns nodes of many clusters. */
export const apiMetrics = { ApiCalls: 'Count', ApiThrottles: 'Count' } as const;

export type ClusterMetric = keyof typeof clusterMetrics;
export type ApiMetric = keyof typeof apiMetrics;
