import type { GcpState, LabNetwork } from './state';

/** Each function breaks the connection from the nodes (in the first network) to the service (in the second). */
export const misconfigurations = {
  'peering-inactive': (cloud) => {
    const [local, remote] = networkPair(cloud);
    remote.peerings = [];
    // Networks do not exchange routes over an inactive peering.
    for (const network of [local, remote]) {
      network.routes = {};
      for (const peering of network.peerings) peering.state = 'INACTIVE';
    }
  },
  'no-forward-route': (cloud) => {
    networkPair(cloud)[0].routes = {};
  },
  'no-return-route': (cloud) => {
    networkPair(cloud)[1].routes = {};
  },
  'firewall-blocks-egress': (cloud) => {
    const { project, name: network } = networkPair(cloud)[0];
    cloud.firewalls.push({
      ...{ project, network, name: 'no-egress', direction: 'EGRESS' },
      ...{ denied: [{ IPProtocol: 'all' }], destinationRanges: ['10.0.0.0/8'] },
    });
  },
  'firewall-blocks-ingress': (cloud) => {
    cloud.firewalls = [];
  },
} as const satisfies Record<string, (cloud: GcpState) => void>;

export type Misconfiguration = keyof typeof misconfigurations;

export function networkPair({ networks: [local, remote] }: GcpState): [LabNetwork, LabNetwork] {
  if (!local || !remote) throw new Error('The project does not have two networks');
  return [local, remote];
}
