import { clusterConfig, type ClusterConfig, type Config } from '../model/config';
import type { Node } from '../model/node';

export type SkipReason =
  | 'no-cluster'
  | 'ambiguous-cluster'
  | 'not-configured'
  | 'not-running'
  | 'windows'
  | 'bottlerocket'
  | 'control-plane'
  | 'pods-routed'
  | 'nothing-to-masquerade';

export interface Skip {
  readonly kind: 'skip';
  readonly reason: SkipReason;
  /** One sentence for whoever wonders. */
  readonly detail: string;
  readonly warnings: readonly Warning[];
}

export interface Warning {
  readonly code:
    | 'any-source'
    | 'blackhole'
    | 'provisioning'
    | 'kind-not-discovered'
    | 'pods-routed'
    | 'no-routes-found'
    | 'no-pod-range-in-family'
    | 'unreadable-route'
    | 'reserved-range'
    | 'destination-exempt'
    | 'destination-overlaps'
    | 'probe-not-masqueraded';
  readonly detail: string;
}

export type Eligibility = { readonly kind: 'eligible'; readonly cluster: ClusterConfig } | Skip;

export const skip = (reason: SkipReason, detail: string, warnings: readonly Warning[] = []): Skip => ({
  kind: 'skip',
  reason,
  detail,
  warnings,
});

/** Whether a node is ours to serve, told from the node and the config alone. */
export function checkEligibility(node: Node, config: Config): Eligibility {
  const [name, ...others] = node.clusters;
  if (name === undefined) return skip('no-cluster', 'Its tags or labels name no cluster.');
  if (others.length > 0) {
    return skip(
      'ambiguous-cluster',
      `Its tags or labels name several clusters: ${node.clusters.join(', ')}.`,
    );
  }
  const cluster = clusterConfig(config, name);
  if (!cluster) return skip('not-configured', `peermasq.yaml has no entry for cluster ${name}.`);
  if (node.state === 'stopped' || node.state === 'gone') return skip('not-running', `It is ${node.state}.`);
  if (node.platform === 'windows') return skip('windows', 'A Windows node has no iptables.');
  if (node.platform === 'bottlerocket') {
    return skip('bottlerocket', 'On Bottlerocket commands run in a container that has no iptables.');
  }
  if (node.isControlPlane && !cluster.controlPlane) {
    return skip('control-plane', `peermasq.yaml leaves out the control plane of ${cluster.name}.`);
  }
  return { kind: 'eligible', cluster };
}
