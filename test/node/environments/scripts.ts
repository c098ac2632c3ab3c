import {
  type Environment,
  gatewayOf,
  internetAddress,
  peerAddress,
  type Pod,
  sidecarPort,
  type Uplink,
} from './environment';
import { table } from './node-network';

/**
 * Joins lines into a script. Consecutive lines for `ip` run in one process, because starting a process takes longer
 * than running the command.
 */
function script(lines: readonly string[]): string {
  const batched = lines.map((line) => (/^ip [^|;<>$]+$/.test(line) ? line.slice(3) : undefined));
  return lines
    .map((line, i) => {
      const command = batched[i];
      if (command === undefined) return line;
      const start = batched[i - 1] === undefined ? "ip -batch - <<'LINES'\n" : '';
      return start + command + (batched[i + 1] === undefined ? '\nLINES' : '');
    })
    .join('\n');
}

export const portOf = (i: number) => `eni${i}`;
const macOf = (i: number) => `02:00:00:00:00:0${i}`;

/** The shell functions that are used by the scripts of a node's programs. */
const functions = (flavour: string) => `
  sysctl() { echo "$2" >"/proc/sys/$1"; }
  restore() { ${flavour}-restore "$@"; }`;

export const restartScript = ({ network }: Environment, flavour: string) =>
  script([functions(flavour), ...network.restart]);

/** Returns the script that connects the pods. Their veth pairs must already exist. */
export const nodePodsScript = ({ pods, bridge, network }: Environment, flavour: string) =>
  script([
    functions(flavour),
    ...pods.map(({ device }) =>
      bridge
        ? `ip link set ${device} master ${bridge.device}`
        : `ip link set ${device} address ee:ee:ee:ee:ee:ee`,
    ),
    ...(network.setUpPods ?? []),
  ]);

export const nodeScript = ({ uplinks, network }: Environment, flavour: string) =>
  script([
    functions(flavour),
    'sysctl net/ipv4/conf/all/rp_filter 0',
    ...uplinks.map(({ device }) => `sysctl net/ipv4/conf/${device}/rp_filter 0`),
    ...uplinks.map(({ device }, i) => `ip link set ${device} address ${macOf(i)}`),
    ...uplinks.flatMap(({ isPointToPoint, subnet, device }) =>
      isPointToPoint ? [`ip route add ${gatewayOf(subnet)} dev ${device} scope link`] : [],
    ),
    `ip route add default via ${gatewayOf(uplinks[0].subnet)} dev ${uplinks[0].device}`,
    ...network.setUp,
    `restore --noflush <<'RULES'\n${network.rules}RULES`,
  ]);

/**
 * Returns the script that delivers packets as a VPC does: by assignment and without ARP. Packets that an interface
 * sends from a source not assigned to it are dropped.
 */
export function vpcScript(uplinks: readonly Uplink[]): string {
  const ports = uplinks.map(({ address, assigned = [] }, i) => ({
    device: portOf(i),
    hop: `169.254.100.${i + 1}`,
    mac: macOf(i),
    ranges: [...(address === undefined ? [] : [address]), ...assigned],
  }));
  const elements = ports.flatMap(({ device, ranges }) => ranges.map((range) => `"${device}" . ${range}`));
  return script([
    'echo 1 >/proc/sys/net/ipv4/ip_forward',
    'echo 0 | tee /proc/sys/net/ipv4/conf/*/rp_filter >/proc/sys/net/ipv4/conf/all/send_redirects',
    'ip route add blackhole default',
    'ip route add 10.192.0.0/12 via 192.0.2.1',
    `ip route add ${internetAddress} via 192.0.2.1`,
    ...ports.flatMap(({ device, hop, mac, ranges }) => [
      `ip neigh add ${hop} lladdr ${mac} dev ${device} nud permanent`,
      ...ranges.map((range) => `ip route add ${range} via ${hop} dev ${device} onlink`),
    ]),
    `nft -f - <<'RULES'
    table ip vpc {
      set assigned { type ifname . ipv4_addr; flags interval; elements = { ${elements.join(', ')} }; }
      chain prerouting {
        type filter hook prerouting priority raw; policy accept;
        iifname "eni*" iifname . ip saddr != @assigned counter drop
      }
    }
RULES`,
  ]);
}

export const peerScript = ({ peer }: Environment) =>
  script([
    `ip addr add ${peerAddress}/32 dev lo`,
    `ip addr add ${internetAddress}/32 dev lo`,
    ...peer.routes.map((range) => `ip route add ${range} via 192.0.2.0 src ${peerAddress}`),
    `ip rule add from ${internetAddress} lookup 100`,
    'ip route add default via 192.0.2.0 table 100',
  ]);

export function podScript({ sidecar }: Pod, { bridge }: Environment): string {
  // A pod with its own route gets a permanent neighbour entry instead of using ARP, as with the VPC CNI.
  const routes = bridge
    ? [`ip route add default via ${bridge.address.split('/')[0]}`]
    : [
        'ip neigh add 169.254.1.1 lladdr ee:ee:ee:ee:ee:ee dev eth0 nud permanent',
        'ip route add 169.254.1.1 dev eth0 scope link',
        'ip route add default via 169.254.1.1 dev eth0',
      ];
  if (!sidecar) return script(routes);
  const redirect = `-A OUTPUT -p tcp ! -d 127.0.0.1/32 -j REDIRECT --to-ports ${sidecarPort}`;
  return script([...routes, `iptables-nft-restore <<'RULES'\n${table('nat', redirect)}RULES`]);
}
