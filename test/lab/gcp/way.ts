import type { GoogleCloud, Network } from './state';

/** Ways to break what lies between the first network's nodes and the second one's service. */
export const wayBreaks = {
  'peering made on one side': (cloud) => {
    const [near, far] = bothOf(cloud);
    far.peerings = [];
    // So it has no routes either.
    for (const network of [near, far]) {
      network.routes = {};
      for (const peering of network.peerings) peering.state = 'INACTIVE';
    }
  },
  'no route there': (cloud) => {
    bothOf(cloud)[0].routes = {};
  },
  'no route back': (cloud) => {
    bothOf(cloud)[1].routes = {};
  },
  'firewall closed at the node': (cloud) => {
    const { project, name: network } = bothOf(cloud)[0];
    cloud.firewalls.push({
      ...{ project, network, name: 'no-egress', direction: 'EGRESS' },
      ...{ denied: [{ IPProtocol: 'all' }], destinationRanges: ['10.0.0.0/8'] },
    });
  },
  'firewall closed at the peer': (cloud) => {
    cloud.firewalls = [];
  },
} as const satisfies Record<string, (cloud: GoogleCloud) => void>;

export type WayBreak = keyof typeof wayBreaks;

export function bothOf({ networks: [near, far] }: GoogleCloud): [Network, Network] {
  if (!near || !far) throw new Error('There are no two networks');
  return [near, far];
}
