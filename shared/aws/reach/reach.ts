import { formatError } from '../../core/model/errors';
import type { Reach } from '../../core/cloud';
import type { Check, CheckResult, CloudCheckName } from '../../core/doctor/check';
import type { Clients } from '../client/clients';
import type { AwsNode } from '../discover/nodes';
import { checkNodeFirewall, checkPeerFirewall } from './check-firewalls';
import { checkPeering } from './check-peering';
import { checkReturnRoute, checkForwardRoute } from './check-routes';
import type { AccountRegion } from './fix-command';
import { isAccessDenied, makeNetworkReader } from './network-reader';
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
 * Returns the checks of VPC peerings, routes, security groups and network ACLs. A resource in an account or region
 * without credentials gives the result `unknown`.
 * @param clients for the node's account and region
 */
export function makeReach(clients: Clients): Reach<AwsNode> {
  return {
    async checks(connection, deadline) {
      const { ref, network } = connection.node;
      if (!network) return terminated(ref.id);
      const home = { account: ref.account, region: clients.region };
      const local = makeNetworkReader(clients, deadline);
      const readerFor = ({ account, region }: AccountRegion) =>
        account === home.account && region === home.region ? local : undefined;
      const instanceId = ref.id;
      const context = makePathContext({ connection, ...network, instanceId, home, local, readerFor });
      return Promise.all(names.map(async (name) => ({ name, ...(await runCheck(context, checks[name])) })));
    },
  };
}

/** The results for a terminated instance, which has no subnet and no VPC. */
const terminated = (id: string): Check[] =>
  names.map((name) => ({
    name,
    state: 'unknown',
    evidence: [`${id} was terminated, so it has no subnet.`],
  }));

/** Runs one check. A missing permission fails only this check, not the others. */
async function runCheck(
  context: PathContext,
  check: (context: PathContext) => Promise<CheckResult>,
): Promise<CheckResult> {
  try {
    return await check(context);
  } catch (error) {
    if (!isAccessDenied(error)) throw error;
    return { state: 'unknown', evidence: [formatError(error)] };
  }
}
