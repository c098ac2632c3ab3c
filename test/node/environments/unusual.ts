import { redirectProgram } from './bpf-program';
import { kubenet, netd } from './cni';
import { type Environment, type NodeNetwork, podsOf, toPeer, type Uplink } from './environment';
import { join, table } from './node-network';

const nodeAddress = '10.209.0.2';
const podRange = '10.132.0.0/24';
const nodes = '10.209.0.0/16';
const eth0 = {
  device: 'eth0',
  subnet: '10.209.0.0/24',
  address: nodeAddress,
  assigned: [podRange],
} as const satisfies Uplink;
const clusterRanges = ['source 10.132.0.0/14', 'exempt 10.132.0.0/14 pods', `exempt ${nodes} network`];
const ruleSet = [...clusterRanges, ...toPeer];
const withoutProbe = ruleSet.filter((line) => !line.startsWith('probe'));
const bridge = { device: 'cbr0', address: '10.132.0.1/24' };
const bridged = (seen: { before: string; after: string; internet: string }) =>
  podsOf({ device: 'veth', addresses: ['10.132.0.10', '10.132.0.11'], ...seen });
const onePod = (seen: { before: string; after: string; internet: string }) =>
  podsOf({ device: 'gke', addresses: ['10.132.0.10'], ...seen });

const peer = { routes: [nodes] };

/** Returns the network of kubenet with these additions. */
const kubenetWith = (setUp: readonly string[], rules = ''): NodeNetwork =>
  join(kubenet, { setUp, rules, restart: [] });

/** A tunnel without an address, configured by the user. The far end accepts no packets. */
const tunnel: Uplink = { device: 'tun77', subnet: '100.64.9.0/24' };
const intoTunnel = ['ip route add default dev tun77 table 77'];

const forwardingOff = onePod({ before: 'dropped', after: 'dropped', internet: 'dropped' });
const unentered = podsOf({
  device: 'gke',
  addresses: ['10.132.0.10', '10.132.0.11'],
  before: 'dropped',
  after: nodeAddress,
  internet: nodeAddress,
});
const pastIptables = onePod({ before: 'dropped', after: 'dropped', internet: 'own' });

export const unusual: readonly Environment[] = [
  {
    name: 'a node with two interfaces, and a route to the peer by the second',
    uplinks: [eth0, { device: 'eth1', subnet: '10.210.0.0/24', address: '10.210.0.2' }],
    bridge,
    pods: bridged({ before: 'dropped', after: '10.210.0.2', internet: nodeAddress }),
    network: kubenetWith(['ip route add 10.193.0.0/16 via 10.210.0.1']),
    peer: { routes: ['10.210.0.0/16'], nodeSource: '10.210.0.2' },
    ruleSet,
    expected: { proven: true },
  },
  {
    name: 'sidecars that accept every connection, and a peer without a route to the node',
    uplinks: [eth0],
    bridge,
    // The sidecar answers the connections.
    pods: bridged({ before: 'own', after: 'own', internet: 'own' }).map((pod) => ({ ...pod, sidecar: true })),
    network: kubenet,
    peer: { routes: ['10.100.0.0/16'], nodeSource: 'dropped' },
    ruleSet,
    expected: { proven: false },
  },
  {
    name: 'a network policy that lets no pod connect to the peer',
    uplinks: [eth0],
    bridge,
    pods: bridged({ before: 'dropped', after: 'dropped', internet: nodeAddress }),
    network: kubenetWith(
      [],
      table(
        'filter',
        ':cali-fw-pods - [0:0]',
        '-A FORWARD -s 10.132.0.0/24 -j cali-fw-pods',
        '-A cali-fw-pods -d 10.193.0.0/16 -m comment --comment "default-deny" -j DROP',
      ),
    ),
    peer,
    ruleSet,
    expected: { proven: false },
  },
  {
    name: 'a node that does not forward',
    uplinks: [eth0],
    pods: forwardingOff,
    network: join(netd(forwardingOff), { setUp: ['sysctl net/ipv4/ip_forward 0'], rules: '', restart: [] }),
    peer,
    ruleSet: withoutProbe,
    expected: { proven: false, code: 'no-forwarding' },
  },
  {
    name: 'policy routing of a part of the traffic into a tunnel',
    uplinks: [eth0, tunnel],
    bridge,
    pods: bridged({ before: 'dropped', after: 'dropped', internet: 'dropped' }),
    network: kubenetWith([
      ...intoTunnel,
      `ip rule add pref 500 from ${podRange} ipproto tcp dport 8000-9000 lookup 77`,
    ]),
    peer,
    ruleSet: withoutProbe,
    expected: { proven: false },
  },
  {
    name: 'policy routing into a tunnel, by a mark that a table of nft sets',
    uplinks: [eth0, tunnel],
    bridge,
    pods: bridged({ before: 'dropped', after: 'dropped', internet: 'dropped' }),
    network: kubenetWith([
      ...intoTunnel,
      'ip rule add pref 600 fwmark 0x77 lookup 77',
      `nft -f - <<'RULES'
table ip mesh {
  chain prerouting {
    type filter hook prerouting priority mangle; policy accept;
    iifname "cbr0" tcp dport 8080 meta mark set 0x77
  }
}
RULES`,
    ]),
    peer,
    ruleSet: withoutProbe,
    expected: { proven: false },
  },
  {
    name: 'a node without nsenter',
    uplinks: [eth0],
    pods: unentered,
    missing: ['/usr/bin/nsenter'],
    network: netd(unentered),
    peer,
    ruleSet,
    expected: { proven: false, code: 'no-namespace' },
  },
  {
    needsRoot: true,
    name: 'a BPF program that sends packets of pods past iptables',
    uplinks: [eth0],
    pods: pastIptables,
    network: join(netd(pastIptables), {
      // The lab hides the kernel's BPF programs, but the node program must see them in this environment.
      setUp: ['umount /proc/kallsyms'],
      setUpPods: [
        `base64 -d >/run/program.o <<'PROGRAM'\n${redirectProgram(2).toString('base64')}\nPROGRAM`,
        ...pastIptables.flatMap(({ device }) => [
          `tc qdisc add dev ${device} clsact`,
          `tc filter add dev ${device} ingress bpf da obj /run/program.o sec tc`,
        ]),
      ],
      rules: '',
      restart: [],
    }),
    peer,
    ruleSet: withoutProbe,
    expected: { proven: false, code: 'ebpf' },
  },
];
