/** What peermasq is called in AWS: the names that the functions, the document and the policies share. */

export const ruleSetTag = 'peermasq:ruleset';
export const statusTag = 'peermasq:status';

/** The tag whose key names the cluster. */
export const clusterKeyPrefix = 'kubernetes.io/cluster/';

/** Tags whose value is the cluster: EKS, EKS managed node groups, Karpenter, kOps and older clusters. */
export const clusterValueKeys = [
  'eks:cluster-name',
  'aws:eks:cluster-name',
  'eks:eks-cluster-name',
  'KubernetesCluster',
];

/** What control-plane nodes carry: those of kOps, by key alone, and of Cluster API. EKS shows none of its own. */
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

/** What the functions assume in an account whose nodes they serve beside their own. */
export function memberRoleName(stage: string, region: string): string {
  return `peermasq-${stage}-${region}-member`;
}

/** Launch lifecycle hooks that begin so are completed; all others are somebody else's. */
export const launchHookPrefix = 'peermasq';

/** The one parameter of either document. */
export const ruleSetParameter = 'ruleset';
export const partParameter = 'part';

/**
 * A rule set as `packRuleSet` makes it: gzip in base64. No character of it means anything to a shell, which
 * is what keeps agents safe that paste parameters into the script.
 */
export const packedPattern = '^H4sI[A-Za-z0-9+/]+={0,2}$';

/** Which part of a snapshot is asked for, from 0. */
export const partPattern = '^[0-9]{1,3}$';

/** Characters. How large a parameter may be is not documented; Linux takes 128 KiB in a variable. */
export const packedLimit = 60_000;
