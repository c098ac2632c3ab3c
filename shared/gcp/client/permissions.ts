/**
 * What the functions may do on Google Cloud, as the custom roles of infra/gcp/modules/project grant it: a test
 * holds the two together. A role is granted in each project that it concerns.
 */

/** In each project with nodes. */
export const nodePermissions = [
  'compute.instances.get',
  'compute.instances.getGuestAttributes',
  'compute.instances.list',
  'compute.instances.setLabels',
  'compute.instances.setMetadata',
  'compute.zoneOperations.get',
] as const;

/** In each project that owns a network: the host project, where the network is shared. */
export const networkPermissions = [
  'compute.networks.get',
  'compute.networks.listPeeringRoutes',
  'compute.routers.get',
  'compute.routers.list',
  'compute.routes.list',
  'compute.subnetworks.list',
] as const;

/** On the service accounts of nodes: whoever sets an instance's metadata can act as the instance does. */
export const identityPermissions = ['iam.serviceAccounts.actAs'] as const;

/** For the backfill alone, and only where `allow_restart` asks for it. */
export const restartPermissions = ['compute.instances.reset'] as const;

/** What people need who look at nodes from the command line, beside identityPermissions; no function has it for that. */
export const snapshotPermissions = [
  'compute.instances.get',
  'compute.instances.getGuestAttributes',
  'compute.instances.setMetadata',
  'compute.zoneOperations.get',
] as const;

/** What people need who ask from the command line why a peer is not reached, beside networkPermissions on both sides. */
export const reachPermissions = [
  'compute.forwardingRules.list',
  'compute.instances.getEffectiveFirewalls',
  'compute.networks.getEffectiveFirewalls',
] as const;

const roles = {
  nodes: nodePermissions,
  networks: networkPermissions,
  node_identity: identityPermissions,
  restart: restartPermissions,
} as const;

/** As infra/gcp names the custom roles. */
export type Role = keyof typeof roles;

export type Permission = (typeof roles)[Role][number];

/** The role that should have granted a permission; undefined for one that peermasq never asks for. */
export function roleOf(permission: string): Role | undefined {
  return (Object.keys(roles) as Role[]).find((role) =>
    (roles[role] as readonly string[]).includes(permission),
  );
}

/** A predefined role that has a permission: people have no use for the custom ones. */
export function predefinedRoleOf(permission: string): string {
  if (permission.startsWith('iam.serviceAccounts.')) return 'roles/iam.serviceAccountUser';
  if (/\.(set|reset)/.test(permission)) return 'roles/compute.instanceAdmin.v1';
  return /^compute\.(instances|zoneOperations)\./.test(permission)
    ? 'roles/compute.viewer'
    : 'roles/compute.networkViewer';
}
