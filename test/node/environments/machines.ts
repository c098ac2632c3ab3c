import { echoServerCommand, type Host, type Lab, openLab } from '../../lab/netns';
import { sh } from '../network';
import {
  type Environment,
  gatewayOf,
  internetAddress,
  peerAddress,
  type Pod,
  port,
  type Uplink,
} from './environment';

/** The machines of an environment. */
export interface Machines {
  readonly lab: Lab;
  readonly node: Host;
  /** By name: `node`, `vpc` (its router), `peer` (which has the internet's address, too), and each pod. */
  readonly host: (name: string) => Host;
}

export async function buildMachines(environment: Environment, flavour: string): Promise<Machines> {
  const lab = openLab();
  try {
    return await build(lab, environment, flavour);
  } catch (error) {
    await lab.close();
    throw error;
  }
}

async function build(lab: Lab, environment: Environment, flavour: string): Promise<Machines> {
  const { uplinks, pods, bridge } = environment;
  const names = ['node', 'vpc', 'peer', ...pods.map(({ name }) => name)];
  const hosts = new Map(
    await Promise.all(names.map(async (name) => [name, await lab.machine(name)] as const)),
  );
  const host = (name: string) => {
    const found = hosts.get(name);
    if (!found) throw new Error(`${environment.name} has no machine ${name}`);
    return found;
  };
  const node = host('node');
  const vpc = host('vpc');
  const servers = ['peer', ...pods.slice(1, 2).map(({ name }) => name)];
  const services = servers.map((name) => host(name).spawn(echoServerCommand(port)));
  await Promise.all([
    ...uplinks.map(({ device, address, subnet }, i) =>
      lab.addVethPair(
        { machine: node, device, addresses: address === undefined ? [] : [address + lengthOf(subnet)] },
        { machine: vpc, device: portOf(i), addresses: [`${gatewayOf(subnet)}/32`] },
      ),
    ),
    ...pods.map(({ name, address, device }) =>
      lab.addVethPair(
        { machine: node, device },
        { machine: host(name), device: 'eth0', addresses: [address + lengthOf(bridge?.address ?? '/32')] },
      ),
    ),
    lab.addVethPair(
      { machine: vpc, device: 'peer', addresses: ['192.0.2.0/31'] },
      { machine: host('peer'), device: 'eth0', addresses: ['192.0.2.1/31'] },
    ),
  ]);
  if (bridge) {
    const ports = pods.map(({ device }) => device);
    await lab.bridge({ machine: node, device: bridge.device, addresses: [bridge.address] }, ports);
  }
  await Promise.all([
    sh(node, nodeScript(environment, flavour)),
    sh(vpc, vpcScript(uplinks)),
    sh(host('peer'), peerScript(environment)),
    ...pods.map((pod) => sh(host(pod.name), podScript(pod, environment))),
    ...services.map((service) => service.output(/listening/)),
  ]);
  return { lab, node, host };
}

/** The `/24` of `10.0.0.0/24`. */
const lengthOf = (cidr: string) => cidr.slice(cidr.indexOf('/'));
const portOf = (i: number) => `eni${i}`;
const macOf = (i: number) => `02:00:00:00:00:0${i}`;

/** Functions that the scripts of a node's programs use. */
const scriptFunctions = (flavour: string) => `
  sysctl() { echo "$2" >"/proc/sys/$1"; }
  iptables() { command ${flavour} "$@"; }
  restore() { ${flavour}-restore "$@"; }`;

export const restartScript = ({ network }: Environment, flavour: string) =>
  `${scriptFunctions(flavour)}\n${network.restart}`;

function nodeScript({ uplinks, pods, bridge, network }: Environment, flavour: string): string {
  return [
    scriptFunctions(flavour),
    'sysctl net/ipv4/conf/all/rp_filter 0',
    ...uplinks.map(
      ({ device }, i) =>
        `sysctl net/ipv4/conf/${device}/rp_filter 0\nip link set ${device} address ${macOf(i)}`,
    ),
    ...(bridge ? [] : pods.map(({ device }) => `ip link set ${device} address ee:ee:ee:ee:ee:ee`)),
    `ip route add default via ${gatewayOf(uplinks[0].subnet)} dev ${uplinks[0].device}`,
    network.setUp,
    `restore --noflush <<'RULES'\n${network.rules}RULES`,
  ].join('\n');
}

/** Delivers by assignment as a VPC does, without ARP, and drops what an interface sends with another source. */
function vpcScript(uplinks: readonly Uplink[]): string {
  const ports = uplinks.map(({ address, assigned = [] }, i) => ({
    device: portOf(i),
    mac: macOf(i),
    hop: `169.254.100.${i + 1}`,
    ranges: [...(address === undefined ? [] : [address]), ...assigned],
  }));
  const elements = ports.flatMap(({ device, ranges }) => ranges.map((range) => `"${device}" . ${range}`));
  return `
    echo 1 >/proc/sys/net/ipv4/ip_forward
    echo 0 | tee /proc/sys/net/ipv4/conf/*/rp_filter >/proc/sys/net/ipv4/conf/all/send_redirects
    ip route add blackhole default
    ip route add 10.192.0.0/12 via 192.0.2.1
    ip route add ${internetAddress} via 192.0.2.1
    ${ports
      .map(
        ({ device, mac, hop, ranges }) =>
          `ip neigh add ${hop} lladdr ${mac} dev ${device} nud permanent
          ${ranges.map((range) => `ip route add ${range} via ${hop} dev ${device} onlink`).join('\n')}`,
      )
      .join('\n')}
    nft -f - <<'RULES'
    table ip vpc {
      set assigned { type ifname . ipv4_addr; flags interval; elements = { ${elements.join(', ')} }; }
      chain prerouting {
        type filter hook prerouting priority raw; policy accept;
        iifname "eni*" iifname . ip saddr != @assigned counter drop
      }
    }
RULES`;
}

const peerScript = ({ peer }: Environment) => `
  ip addr add ${peerAddress}/32 dev lo
  ip addr add ${internetAddress}/32 dev lo
  ${peer.routes.map((range) => `ip route add ${range} via 192.0.2.0 src ${peerAddress}`).join('\n')}
  ip rule add from ${internetAddress} lookup 100
  ip route add default via 192.0.2.0 table 100`;

function podScript({ rules }: Pod, { bridge }: Environment): string {
  // Routed pods have a permanent neighbour, as the VPC CNI writes it, instead of ARP.
  const routes = bridge
    ? `ip route add default via ${bridge.address.split('/')[0]}`
    : `ip neigh add 169.254.1.1 lladdr ee:ee:ee:ee:ee:ee dev eth0 nud permanent
       ip route add 169.254.1.1 dev eth0 scope link
       ip route add default via 169.254.1.1 dev eth0`;
  return rules === undefined ? routes : `${routes}\niptables-nft-restore <<'RULES'\n${rules}RULES`;
}
