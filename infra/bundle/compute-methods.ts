/**
 * The methods of Compute Engine that the functions can call, by service, as protos.json of @google-cloud/compute
 * names them. All others are pruned; a test holds this list to what shared/gcp calls.
 */
export const computeMethods: Readonly<Record<string, readonly string[]>> = {
  Instances: ['AggregatedList', 'Get', 'GetGuestAttributes', 'Reset', 'SetLabels', 'SetMetadata'],
  Networks: ['Get', 'ListPeeringRoutes'],
  Routers: ['AggregatedList', 'GetRouterStatus'],
  Routes: ['List'],
  Subnetworks: ['AggregatedList'],
  ZoneOperations: ['Get', 'Wait'],
};

/** Those of the command line: it also asks why a peer is not reached (shared/gcp/reach). */
export const computeMethodsOfCli: Readonly<Record<string, readonly string[]>> = {
  ...computeMethods,
  ForwardingRules: ['AggregatedList'],
  Instances: [...(computeMethods['Instances'] ?? []), 'GetEffectiveFirewalls'],
  Networks: [...(computeMethods['Networks'] ?? []), 'GetEffectiveFirewalls'],
};
