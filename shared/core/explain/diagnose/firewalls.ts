import type { BaseChain, Chain } from '../model';

/** A program whose rules drop forwarded packets, and where it is configured. */
export interface Firewall {
  readonly name: string;
  /** Whether the program wrote the rule or the policy in this chain. */
  readonly owns: (chain: Chain, baseChain: BaseChain) => boolean;
  readonly advice: string;
}

const hasChain = ({ table }: BaseChain, pattern: RegExp) =>
  [...table.chains.keys()].some((name) => pattern.test(name));

/** Whether the policy of the base chain drops the packet, or a rule in that chain itself. */
const isBase = (chain: Chain, baseChain: BaseChain) => chain === baseChain.chain;

export const firewalls: readonly Firewall[] = [
  {
    /** projectcalico/calico `felix/rules/endpoints.go`: chains for the endpoints, their policies and profiles. */
    name: 'Calico',
    owns: ({ name }) => name.startsWith('cali-'),
    advice:
      'A Calico network policy drops the packet. Allow the connection in a NetworkPolicy or GlobalNetworkPolicy that selects the pod.',
  },
  {
    /** cloudnativelabs/kube-router `pkg/controllers/netpol`. */
    name: 'kube-router',
    owns: ({ name }) => /^KUBE-(POD-FW|NWPLCY|ROUTER)/.test(name),
    advice:
      'A network policy drops the packet. Allow the connection in a NetworkPolicy that selects the pod.',
  },
  {
    /** ufw(8): DEFAULT_FORWARD_POLICY; `ufw route allow`. */
    name: 'ufw',
    owns: (chain, baseChain) =>
      /^ufw6?-/.test(chain.name) || (isBase(chain, baseChain) && hasChain(baseChain, /^ufw6?-/)),
    advice:
      'Run ufw route allow for the connection, or set DEFAULT_FORWARD_POLICY="ACCEPT" in /etc/default/ufw and run ufw reload.',
  },
  {
    /** firewalld.org/documentation/man-pages/firewall-cmd.html: interfaces in zone trusted, policies between zones. */
    name: 'firewalld',
    owns: (chain, { table }) => table.nft?.name === 'firewalld' || /^(FWD[IO]?_|filter_FWD)/.test(chain.name),
    advice:
      "Add the pods' interface to zone trusted, or allow the connection in a policy: firewall-cmd --permanent --zone=trusted --add-interface=INTERFACE, then firewall-cmd --reload.",
  },
  {
    /**
     * dockerd sets the policy of FORWARD to DROP when it turns on IP forwarding (moby/libnetwork#1526). Docker 28 has
     * `ip-forward-no-drop` (docs.docker.com/engine/network/packet-filtering-firewalls).
     */
    name: 'Docker',
    owns: (chain, baseChain) =>
      chain.name.startsWith('DOCKER') || (isBase(chain, baseChain) && hasChain(baseChain, /^DOCKER/)),
    advice:
      'dockerd sets the policy of FORWARD to DROP when it turns on IP forwarding. Set "ip-forward-no-drop": true in /etc/docker/daemon.json (Docker 28 or later), or turn on net.ipv4.ip_forward before dockerd starts.',
  },
];
