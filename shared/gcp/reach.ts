import { inWords, PermanentError } from '../core/errors';
import type { Check, Reach } from '../core/reach';
import type { Clients } from './clients';
import { instanceOf } from './instance';
import { firewallOfNode, firewallOfPeer } from './reach/doors';
import { peeringCheck } from './reach/peering';
import { routeBack, routeThere } from './reach/route';
import { makeScene, type Scene, type Told } from './reach/scene';
import { makeView, Unseen } from './reach/view';

const checks = {
  peering: peeringCheck,
  'route-there': routeThere,
  'route-back': routeBack,
  'firewall-node': firewallOfNode,
  'firewall-peer': firewallOfPeer,
} as const satisfies Partial<Record<Check['link'], (scene: Scene) => Promise<Told>>>;

/**
 * Peerings, routes and firewall rules of Google Cloud, of the node's side and of the peer's, as far as whoever asks
 * may see them.
 * @throws PeermasqError where nothing can be seen at all: without credentials, or of a node that is gone
 */
export function makeGcpReach(clients: Clients): Reach {
  return {
    async checks(way, deadline) {
      const instance = await instanceOf(clients, way.node, deadline);
      if (!instance) throw gone(way.node.name);
      const scene = makeScene(makeView(clients, deadline), way, instance);
      const links = Object.keys(checks) as (keyof typeof checks)[];
      return Promise.all(links.map(async (link) => ({ link, ...(await told(scene, checks[link])) })));
    },
  };
}

const gone = (name: string) =>
  new PermanentError('not-found', `There is no instance ${name} any more`, 'Name a node that runs.');

async function told(scene: Scene, look: (scene: Scene) => Promise<Told>): Promise<Told> {
  try {
    return await look(scene);
  } catch (thrown) {
    if (!(thrown instanceof Unseen)) throw thrown;
    return { state: 'unknown', evidence: [inWords(thrown.error)], cure: thrown.command };
  }
}
