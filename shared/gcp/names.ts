/** Names in Google Cloud that peermasq writes or reads. */

/** The keys of instance metadata. */
export const ruleSetKey = 'peermasq-ruleset';
/** The number of discovered routes from which the rule set was computed. Later plans are compared with this number. */
export const routesKey = 'peermasq-routes';
export const programKey = 'peermasq-program';
/** The key whose value requests a snapshot from the node. */
export const snapshotKey = 'peermasq-snapshot';
export const startupScriptKey = 'startup-script';
export const guestAttributesKey = 'enable-guest-attributes';

/** The paths of guest attributes, which the node program writes. */
export const reportPath = 'peermasq/';
export const reportKey = 'status';
export const snapshotPath = 'peermasq-snapshot/';

/**
 * The label that records the result of the last push. With this label, the reports of most nodes do not have to be
 * read.
 */
export const statusLabel = 'peermasq-status';

/** The label and the metadata key that GKE sets on its nodes. Their value is the cluster name. */
export const clusterLabel = 'goog-k8s-cluster-name';
export const clusterMetadataKey = 'cluster-name';

/** Nodes of other clusters have a label key or network tag made up of this prefix and the cluster name. */
export const clusterKeyPrefix = 'kubernetes-io-cluster-';

/** kOps sets one of these labels on control-plane nodes. The control-plane nodes of GKE are not visible. */
export const controlPlaneLabels = ['k8s-io-role-control-plane', 'k8s-io-role-master'];
