import { formatError } from '../../core/model/errors';
import type { Reach } from '../../core/cloud';
import type { Check } from '../../core/doctor/check';
import type { Clients } from '../client/clients';
import type { GcpNode } from '../discover/instance';
import { checkNodeFirewall, checkPeerFirewall } from './check-firewalls';
import { checkPeering } from './check-peering';
import { checkReturnRoute, checkForwardRoute } from './check-routes';
import { makePathContext, type PathContext, type CheckResult } from './path-context';
import { makeNetworkReader, AccessDenied } from './network-reader';

const checks = {
  peering: checkPeering,
  'forward-route': checkForwardRoute,
  'return-route': checkReturnRoute,
  'node-firewall': checkNodeFirewall,
  'peer-firewall': checkPeerFirewall,
} as const satisfies Partial<Record<Check['name'], (context: PathContext) => Promise<CheckResult>>>;

/**
 * Peerings, routes and firewall rules of Google Cloud, of the node's side and of the peer's, as far as whoever asks
 * may see them.
 * @throws PeermasqError where nothing can be seen at all: without credentials, or of a network that is gone
 */
export function makeReach(clients: Clients): Reach<GcpNode> {
  return {
    async checks(connection, deadline) {
      const context = makePathContext(makeNetworkReader(clients, deadline), connection);
      const names = Object.keys(checks) as (keyof typeof checks)[];
      return Promise.all(names.map(async (name) => ({ name, ...(await runCheck(context, checks[name])) })));
    },
  };
}

async function runCheck(
  context: PathContext,
  check: (context: PathContext) => Promise<CheckResult>,
): Promise<CheckResult> {
  try {
    return await check(context);
  } catch (thrown) {
    if (!(thrown instanceof AccessDenied)) throw thrown;
    return { state: 'unknown', evidence: [formatError(thrown.error)], fix: thrown.command };
  }
}
