import { formatError } from '../../core/model/errors';
import type { Reach } from '../../core/cloud';
import type { CheckResult, CloudCheckName } from '../../core/doctor/check';
import type { Clients } from '../client/clients';
import type { GcpNode } from '../discover/nodes';
import { checkNodeFirewall, checkPeerFirewall } from './check-firewalls';
import { checkPeering } from './check-peering';
import { checkReturnRoute, checkForwardRoute } from './check-routes';
import { AccessDenied, makeNetworkReader } from './network-reader';
import { makePathContext, type PathContext } from './path-context';

const checks = {
  peering: checkPeering,
  'forward-route': checkForwardRoute,
  'return-route': checkReturnRoute,
  'node-firewall': checkNodeFirewall,
  'peer-firewall': checkPeerFirewall,
} as const satisfies Record<CloudCheckName, (context: PathContext) => Promise<CheckResult>>;

const names = Object.keys(checks) as (keyof typeof checks)[];

/**
 * Returns the checks of VPC Network Peering, routes and firewall rules. Both the node's side and the peer's side are
 * checked, as far as the credentials allow.
 * @throws PeermasqError if nothing can be checked, because there are no credentials or the node's network no longer
 * exists
 */
export function makeReach(clients: Clients): Reach<GcpNode> {
  return {
    async checks(connection, deadline) {
      const context = makePathContext(makeNetworkReader(clients, deadline), connection);
      return Promise.all(names.map(async (name) => ({ name, ...(await runCheck(context, checks[name])) })));
    },
  };
}

/** Runs one check. A missing permission does not affect the other checks. */
async function runCheck(
  context: PathContext,
  check: (context: PathContext) => Promise<CheckResult>,
): Promise<CheckResult> {
  try {
    return await check(context);
  } catch (error) {
    if (!(error instanceof AccessDenied)) throw error;
    return { state: 'unknown', evidence: [formatError(error.error)], fix: error.command };
  }
}
