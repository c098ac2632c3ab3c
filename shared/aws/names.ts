/** AWS names that the functions, the SSM documents, the IAM policies and the dashboard share. */

export const ruleSetTag = 'peermasq:ruleset';
export const statusTag = 'peermasq:status';

/** The prefix of tag keys that end with the cluster name. */
export const clusterKeyPrefix = 'kubernetes.io/cluster/';

/**
 * The keys of tags whose value is the cluster name: EKS, EKS managed node groups, Karpenter, kOps and older clusters.
 */
export const clusterValueKeys = [
  'eks:cluster-name',
  'aws:eks:cluster-name',
  'eks:eks-cluster-name',
  'KubernetesCluster',
];

/**
 * The tags of control-plane nodes. kOps tags have no fixed value; Cluster API tags do. EKS control planes do not run
 * in the customer's account.
 */
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

/** Returns the name of the role that the functions assume in a member account. */
export function memberRoleName(stage: string, region: string): string {
  return `peermasq-${stage}-${region}-member`;
}

/** The prefix of launch lifecycle hooks that peermasq completes. Other hooks are ignored. */
export const launchHookPrefix = 'peermasq';

/** The parameters of the two SSM documents. Each document has one parameter. */
export const ruleSetParameter = 'ruleset';
export const partParameter = 'part';

/**
 * Matches a rule set as `packRuleSet` returns it: base64 of gzip. The pattern allows no special shell characters,
 * because older SSM agents paste parameters into the script.
 */
export const packedPattern = '^H4sI[A-Za-z0-9+/]+={0,2}$';

/** Matches the number of a snapshot's part. The first part has number 0. */
export const partPattern = '^[0-9]{1,3}$';

/**
 * The maximum number of characters in a packed rule set. SSM documents no limit for a parameter; Linux allows 128 KiB
 * for an environment variable.
 */
export const packedLimit = 60_000;

export const metricsNamespace = 'peermasq';

/** Metrics that are published both per stage and per combination of stage and cluster. */
export const clusterMetrics = {
  NodesProven: 'Count',
  NodesFailed: 'Count',
  NodesHeld: 'Count',
  NodesUnproven: 'Count',
  SecondsToProven: 'Seconds',
  SourcePortsUsedPercent: 'Percent',
} as const;

/** Metrics that are published per stage only, because one API call may be for nodes of many clusters. */
export const apiMetrics = { ApiCalls: 'Count', ApiThrottles: 'Count' } as const;

export type ClusterMetric = keyof typeof clusterMetrics;
export type ApiMetric = keyof typeof apiMetrics;
