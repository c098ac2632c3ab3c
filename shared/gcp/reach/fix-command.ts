import { toCidr, type Cidr } from '../../core/model/cidr';
import { shellQuote } from '../../core/util/shell';
import type { NetworkRef } from '../discover/networks';
import type { EffectiveRule, Flow } from './rule-match';

/** Builds a `gcloud compute` command. */
export const gcloud = (...args: readonly string[]): string =>
  ['gcloud', 'compute', ...args].map(shellQuote).join(' ');

export const inProject = ({ project }: { readonly project: string }): string[] => ['--project', project];

export const inNetwork = (ref: NetworkRef): string[] => [...inProject(ref), '--network', ref.network];

export const createPeering = (owner: NetworkRef, peer: NetworkRef, name = `to-${peer.network}`): string =>
  gcloud(
    ...['networks', 'peerings', 'create', name.slice(0, maxNameLength), ...inNetwork(owner)],
    ...['--peer-project', peer.project, '--peer-network', peer.network],
  );

const maxNameLength = 63;

export const deletePeering = (owner: NetworkRef, name: string): string =>
  gcloud('networks', 'peerings', 'delete', name, ...inNetwork(owner));

export const updatePeering = (owner: NetworkRef, name: string, ...flags: string[]): string =>
  gcloud('networks', 'peerings', 'update', name, ...inNetwork(owner), ...flags);

/** Returns a command that lists the routes offered to a network over a peering. */
export const listPeeringRoutes = (owner: NetworkRef, name: string, region: string): string =>
  gcloud(
    ...['networks', 'peerings', 'list-routes', name, ...inNetwork(owner)],
    ...['--region', region, '--direction', 'INCOMING'],
  );

export interface AllowRequest {
  readonly flow: Flow;
  readonly ref: NetworkRef;
  /** The rule that blocks the connection. Absent if the implied rule blocks it. */
  readonly blocking: EffectiveRule | undefined;
  /** The name of a disabled VPC firewall rule that would allow the connection. */
  readonly disabled: string | undefined;
  /** The source range for a new ingress rule. */
  readonly source: Cidr;
}

/**
 * Returns a command that creates or enables an allow rule that takes precedence over the blocking rule. Undefined if no
 * command can allow the connection.
 */
export function allowCommand({ flow, ref, blocking, disabled, source }: AllowRequest): string | undefined {
  if (blocking?.policy) return allowInPolicy({ flow, ref, blocking, source });
  if (disabled !== undefined && !blocking)
    return gcloud('firewall-rules', 'update', disabled, ...inProject(ref), '--no-disabled');
  if (blocking?.priority === 0)
    return gcloud('firewall-rules', 'update', blocking.name, ...inProject(ref), '--disabled');
  const { direction, port, destination } = flow;
  const name = `peermasq-${direction.toLowerCase()}-tcp-${port}`;
  return gcloud(
    ...['firewall-rules', 'create', name, ...inNetwork(ref)],
    ...['--direction', direction, '--action', 'allow', '--rules', `tcp:${port}`],
    ...(direction === 'EGRESS'
      ? ['--destination-ranges', toCidr(destination).text]
      : ['--source-ranges', source.text]),
    ...['--priority', String(blocking ? blocking.priority - 1 : 1_000)],
  );
}

function allowInPolicy({
  flow: { direction, destination, port },
  ref,
  blocking: { policy, priority },
  source,
}: Omit<AllowRequest, 'blocking' | 'disabled'> & { readonly blocking: EffectiveRule }): string | undefined {
  const [group, ...scope] = policyScope(policy?.type ?? '', ref);
  if (!group || priority === 0) return undefined;
  return gcloud(
    ...[group, 'rules', 'create', String(priority - 1), '--firewall-policy', policy?.name ?? '', ...scope],
    ...['--direction', direction, '--action', 'allow', '--layer4-configs', `tcp:${port}`],
    ...(direction === 'EGRESS'
      ? ['--dest-ip-ranges', toCidr(destination).text]
      : ['--src-ip-ranges', source.text]),
  );
}

/**
 * Returns an empty list for policies that Google manages, and for regional policies because the API does not return
 * their region.
 */
function policyScope(type: string, ref: NetworkRef): string[] {
  if (type === 'HIERARCHY') return ['firewall-policies'];
  return type === 'NETWORK'
    ? ['network-firewall-policies', '--global-firewall-policy', ...inProject(ref)]
    : [];
}
