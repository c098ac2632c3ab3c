/**
 * The Compute Engine methods that the functions call, by service, with their names in protos.json of
 * @google-cloud/compute. All other methods are pruned. A test compares this list with the calls in shared/gcp.
 */
export const computeMethods: Readonly<Record<string, readonly string[]>> = {
  Instances: ['AggregatedList', 'Get', 'GetGuestAttributes', 'Reset', 'SetLabels', 'SetMetadata'],
  Networks: ['Get', 'ListPeeringRoutes'],
  Routers: ['AggregatedList', 'GetRouterStatus'],
  Routes: ['List'],
  Subnetworks: ['AggregatedList'],
  ZoneOperations: ['Get', 'Wait'],
};

/** The methods that the command line calls, which include those in shared/gcp/reach. */
export const computeMethodsOfCli: Readonly<Record<string, readonly string[]>> = {
  ...computeMethods,
  ForwardingRules: ['AggregatedList'],
  Instances: [...(computeMethods['Instances'] ?? []), 'GetEffectiveFirewalls'],
  Networks: [...(computeMethods['Networks'] ?? []), 'GetEffectiveFirewalls'],
};
