/** The names in Google Cloud that peermasq writes or reads. */

/** Keys of instance metadata. */
export const ruleSetKey = 'peermasq-ruleset';
/** How many discovered routes the rule set was computed from: a later plan is compared with it. */
export const routesKey = 'peermasq-routes';
export const programKey = 'peermasq-program';
/** Requests a snapshot from the node. */
export const snapshotKey = 'peermasq-snapshot';
export const startupScriptKey = 'startup-script';
export const guestAttributesKey = 'enable-guest-attributes';

/** Paths of guest attributes, which the node program writes. */
export const reportPath = 'peermasq/';
export const reportKey = 'status';
export const snapshotPath = 'peermasq-snapshot/';

/** The label that records how the last push ended. It saves reading the reports of most nodes. */
export const statusLabel = 'peermasq-status';

/** GKE sets both on its nodes; the value is the cluster. */
export const clusterLabel = 'goog-k8s-cluster-name';
export const clusterMetadataKey = 'cluster-name';

/** In other clusters the key of a label, or a network tag, contains the name of the cluster. */
export const clusterKeyPrefix = 'kubernetes-io-cluster-';

/** kOps sets one of these on control-plane nodes. GKE does not show its own. */
export const controlPlaneLabels = ['k8s-io-role-control-plane', 'k8s-io-role-master'];
