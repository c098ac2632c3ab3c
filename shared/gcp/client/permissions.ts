/**
 * The permissions of the functions. The custom roles in infra/gcp/modules/project grant them, and a test compares both
 * lists. Each role is granted only in the projects that need it. docs/cli.md lists the permissions of operators.
 */

/** Granted in each project with nodes. */
export const nodePermissions = [
  'compute.instances.get',
  'compute.instances.getGuestAttributes',
  'compute.instances.list',
  'compute.instances.setLabels',
  'compute.instances.setMetadata',
  'compute.zoneOperations.get',
] as const;

/** Granted in each project that owns a network. With Shared VPC, that is the host project. */
export const networkPermissions = [
  'compute.networks.get',
  'compute.networks.listPeeringRoutes',
  'compute.routers.get',
  'compute.routers.list',
  'compute.routes.list',
  'compute.subnetworks.list',
] as const;

/**
 * Granted on the service accounts of nodes, because a caller who sets the metadata of an instance can act as its
 * account.
 */
export const identityPermissions = ['iam.serviceAccounts.actAs'] as const;

/** Granted only to the backfill, and only with `allow_restart`. */
export const restartPermissions = ['compute.instances.reset'] as const;

const roles = {
  nodes: nodePermissions,
  networks: networkPermissions,
  node_identity: identityPermissions,
  restart: restartPermissions,
} as const;

/** The names of the custom roles in infra/gcp. */
type Role = keyof typeof roles;

/** Returns the role that grants a permission to the functions. Undefined for a permission that only operators need. */
export function roleOf(permission: string): Role | undefined {
  return (Object.keys(roles) as Role[]).find((role) =>
    (roles[role] as readonly string[]).includes(permission),
  );
}

/** Returns a predefined role that contains this permission, for operators. */
export function predefinedRoleOf(permission: string): string {
  if (permission.startsWith('iam.serviceAccounts.')) return 'roles/iam.serviceAccountUser';
  if (/\.(set|reset)/.test(permission)) return 'roles/compute.instanceAdmin.v1';
  return /^compute\.(instances|zoneOperations)\./.test(permission)
    ? 'roles/compute.viewer'
    : 'roles/compute.networkViewer';
}
