import { inWords } from '../core/errors';
import type { Check, LinkName, Reach } from '../core/reach';
import type { Clients } from './clients';
import type { AwsNode } from './nodes';
import { checkNode, checkPeer } from './reach/firewall';
import { checkPeering, type SightOf } from './reach/peering';
import { checkBack, checkThere } from './reach/routes';
import { makeScene, type Scene } from './reach/scene';
import { isDenial, makeSight, type Sight } from './reach/sight';

export interface ReachOptions {
  /**
   * Clients for another account or region than the node's, where a peering ends there; without them what lies
   * there is `unknown`.
   */
  readonly clientsOf?: (account: string, region: string) => Clients | undefined;
}

const checks = [
  ['peering', checkPeering],
  ['route-there', checkThere],
  ['route-back', checkBack],
  ['firewall-node', checkNode],
  ['firewall-peer', checkPeer],
] as const satisfies readonly (readonly [LinkName, (scene: Scene) => Promise<Check>])[];

/**
 * What EC2 says of a way.
 * @param clients of the node's account and region
 */
export function makeAwsReach(clients: Clients, { clientsOf }: ReachOptions = {}): Reach {
  return {
    async checks(way, deadline) {
      const node: AwsNode = way.node;
      const { ref, vpcId, subnetId } = node;
      if (ref.cloud !== 'aws' || vpcId === undefined || subnetId === undefined) return unplaced(ref.id);
      const home = { account: ref.account, region: clients.region };
      const near = makeSight(clients, deadline);
      const sightOf = remembered(({ account, region }) => {
        if (account === home.account && region === home.region) return near;
        const others = clientsOf?.(account, region);
        return others && makeSight(others, deadline);
      });
      const scene = makeScene({ way, vpcId, subnetId, instanceId: ref.id, home, near, sightOf });
      return Promise.all(checks.map(([link, check]) => orUnknown(link, check(scene))));
    },
  };
}

/** So that what lies there is read once too. */
function remembered(sightOf: SightOf): SightOf {
  const known = new Map<string, Sight | undefined>();
  return (place) => {
    const key = `${place.account} ${place.region}`;
    const sight = known.get(key) ?? sightOf(place);
    known.set(key, sight);
    return sight;
  };
}

/** A terminated instance has neither subnet nor VPC. */
const unplaced = (id: string): Check[] =>
  checks.map(([link]) => ({ link, state: 'unknown', evidence: [`${id} is in no subnet: it has ended.`] }));

/** One look-up that is not allowed leaves the other checks as they are. */
async function orUnknown(link: LinkName, checking: Promise<Check>): Promise<Check> {
  try {
    return await checking;
  } catch (error) {
    if (!isDenial(error)) throw error;
    return { link, state: 'unknown', evidence: [inWords(error)] };
  }
}
