/**
 * The permissions of the functions, as the custom roles of infra/gcp/modules/project grant them; a test compares the
 * two. A role is granted in each project that it applies to. docs/cli.md lists the permissions of operators.
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

/** In each project that owns a network; with Shared VPC that is the host project. */
export const networkPermissions = [
  'compute.networks.get',
  'compute.networks.listPeeringRoutes',
  'compute.routers.get',
  'compute.routers.list',
  'compute.routes.list',
  'compute.subnetworks.list',
] as const;

/** On the service accounts of nodes: setting the metadata of an instance allows acting as that account. */
export const identityPermissions = ['iam.serviceAccounts.actAs'] as const;

/** Of the backfill alone, with `allow_restart`. */
export const restartPermissions = ['compute.instances.reset'] as const;

const roles = {
  nodes: nodePermissions,
  networks: networkPermissions,
  node_identity: identityPermissions,
  restart: restartPermissions,
} as const;

/** As infra/gcp names the custom roles. */
type Role = keyof typeof roles;

/** The role that grants a permission to functions; undefined for a permission that only operators need. */
export function roleOf(permission: string): Role | undefined {
  return (Object.keys(roles) as Role[]).find((role) =>
    (roles[role] as readonly string[]).includes(permission),
  );
}

/** A predefined role with this permission, for operators. */
export function predefinedRoleOf(permission: string): string {
  if (permission.startsWith('iam.serviceAccounts.')) return 'roles/iam.serviceAccountUser';
  if (/\.(set|reset)/.test(permission)) return 'roles/compute.instanceAdmin.v1';
  return /^compute\.(instances|zoneOperations)\./.test(permission)
    ? 'roles/compute.viewer'
    : 'roles/compute.networkViewer';
}
