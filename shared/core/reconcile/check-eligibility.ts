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
  | 'not-in-node-subnet'
  | 'nothing-to-masquerade';

export interface Skip {
  readonly kind: 'skip';
  readonly reason: SkipReason;
  /** A sentence that explains the reason to operators. */
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
    | 'not-in-node-subnet'
    | 'no-pod-range-in-family'
    | 'unreadable-route'
    | 'reserved-range'
    | 'destination-exempt'
    | 'destination-overlaps'
    | 'destination-routed'
    | 'pods-outside-rfc1918'
    | 'probe-not-masqueraded'
    | 'clock-skew';
  readonly detail: string;
}

export type Eligibility = { readonly kind: 'eligible'; readonly cluster: ClusterConfig } | Skip;

export const skip = (reason: SkipReason, detail: string, warnings: readonly Warning[] = []): Skip => ({
  kind: 'skip',
  reason,
  detail,
  warnings,
});

/** Decides whether a node is managed, based only on the node and the config. */
export function checkEligibility(node: Node, config: Config): Eligibility {
  const [name, ...others] = node.clusters;
  if (name === undefined) return skip('no-cluster', 'Its tags or labels name no cluster.');
  if (others.length > 0) {
    const names = node.clusters.join(', ');
    return skip('ambiguous-cluster', `Its tags or labels name more than one cluster: ${names}.`);
  }
  const cluster = clusterConfig(config, name);
  if (!cluster) return skip('not-configured', `peermasq.yaml has no entry for cluster ${name}.`);
  if (node.state === 'stopped') return skip('not-running', 'The instance is stopped.');
  if (node.state === 'gone') return skip('not-running', 'The instance no longer exists.');
  if (node.platform === 'windows') return skip('windows', 'Windows nodes have no iptables.');
  if (node.platform === 'bottlerocket') {
    return skip('bottlerocket', 'On Bottlerocket, commands run in a container without iptables.');
  }
  if (node.isControlPlane && !cluster.controlPlane) {
    return skip('control-plane', `peermasq.yaml excludes the control-plane nodes of ${cluster.name}.`);
  }
  return { kind: 'eligible', cluster };
}
