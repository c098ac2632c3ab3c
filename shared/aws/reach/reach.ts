import { formatError } from '../../core/model/errors';
import type { Reach } from '../../core/cloud';
import type { Check, CheckName } from '../../core/doctor/check';
import type { Clients } from '../client/clients';
import type { AwsNode } from '../discover/nodes';
import { checkNodeFirewall, checkPeerFirewall } from './check-firewalls';
import { checkPeering, type ReaderFor } from './check-peering';
import { checkReturnRoute, checkForwardRoute } from './check-routes';
import { makePathContext, type PathContext } from './path-context';
import { isAccessDenied, makeNetworkReader, type NetworkReader } from './network-reader';

export interface ReachOptions {
  /**
   * Clients for another account or region than the node's, where a peering ends there; without them what lies
   * there is `unknown`.
   */
  readonly clientsOf?: (account: string, region: string) => Clients | undefined;
}

const checks = [
  ['peering', checkPeering],
  ['forward-route', checkForwardRoute],
  ['return-route', checkReturnRoute],
  ['node-firewall', checkNodeFirewall],
  ['peer-firewall', checkPeerFirewall],
] as const satisfies readonly (readonly [CheckName, (context: PathContext) => Promise<Check>])[];

/**
 * What EC2 says of a way.
 * @param clients of the node's account and region
 */
export function makeReach(clients: Clients, { clientsOf }: ReachOptions = {}): Reach {
  return {
    async checks(connection, deadline) {
      const node: AwsNode = connection.node;
      const { ref, vpcId, subnetId } = node;
      if (ref.cloud !== 'aws' || vpcId === undefined || subnetId === undefined) return notInSubnet(ref.id);
      const home = { account: ref.account, region: clients.region };
      const local = makeNetworkReader(clients, deadline);
      const readerFor = memoizedReaders(({ account, region }) => {
        if (account === home.account && region === home.region) return local;
        const others = clientsOf?.(account, region);
        return others && makeNetworkReader(others, deadline);
      });
      const context = makePathContext({
        connection,
        vpcId,
        subnetId,
        instanceId: ref.id,
        home,
        local,
        readerFor,
      });
      return Promise.all(checks.map(([name, check]) => unknownIfDenied(name, check(context))));
    },
  };
}

/** So that what lies there is read once too. */
function memoizedReaders(readerFor: ReaderFor): ReaderFor {
  const readers = new Map<string, NetworkReader | undefined>();
  return (location) => {
    const key = `${location.account} ${location.region}`;
    const reader = readers.get(key) ?? readerFor(location);
    readers.set(key, reader);
    return reader;
  };
}

/** A terminated instance has neither subnet nor VPC. */
const notInSubnet = (id: string): Check[] =>
  checks.map(([name]) => ({ name, state: 'unknown', evidence: [`${id} is in no subnet: it has ended.`] }));

/** One look-up that is not allowed leaves the other checks as they are. */
async function unknownIfDenied(name: CheckName, checking: Promise<Check>): Promise<Check> {
  try {
    return await checking;
  } catch (error) {
    if (!isAccessDenied(error)) throw error;
    return { name, state: 'unknown', evidence: [formatError(error)] };
  }
}
