import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { join } from 'node:path';
import { describeKernel } from '../lab/kernel';
import { type BpfLab, bpfLab, ciliumConfig } from './bpf-lab';
import { backendVpc, type Network, openNetwork, sh } from './network';

const policyPin = 'globals/aws/programs/web-7d4b9c-default_handle_egress';
const nothing = '';
const onPath = (programs: string) =>
  `BPF programs (${programs}) may handle pods' packets before iptables: masquerade in the network plugin that loads them, or detach them`;
const loaded = (programs: string, tool = 'bpftool 7.3 or newer') =>
  `BPF programs (${programs}) are loaded, but it is unknown where they are attached: install ${tool}`;
const tc = 'tc (package iproute-tc or iproute2) or bpftool';
const inCilium = 'masquerade the destinations in Cilium (nonMasqueradeCIDRs of its ip-masq-agent)';
const masquerading = `Cilium masquerades in eBPF, before iptables: ${inCilium}, or set bpf.masquerade=false`;

/**
 * Each row has a title, the expected reason why the rules are not proven, and a function that sets up the BPF programs.
 */
const evidence: [string, string, (lab: BpfLab) => unknown][] = [
  ['no program', nothing, () => undefined],
  [
    'no program, on a node without tc',
    nothing,
    (lab) => {
      lab.hide('tc');
    },
  ],
  [
    'a tc program on the uplink',
    onPath('to_netdev on eth0'),
    (lab) => lab.attach('tc', 'eth0', 'egress', 'to_netdev'),
  ],
  [
    "a tc program on a port of the pods' bridge",
    onPath('in on veth0'),
    (lab) => lab.attach('tc', 'veth0', 'ingress', 'in'),
  ],
  [
    "a tc program on a device that pods' packets do not use",
    nothing,
    (lab) => lab.attach('tc', 'docker0', 'ingress', 'in'),
  ],
  [
    'programs on several devices',
    onPath('three on cbr0, one on eth0, two on eth0'),
    async (lab) => {
      await lab.attach('tc', 'cbr0', 'egress', 'three');
      await lab.attach('tc', 'eth0', 'ingress', 'one');
      await lab.attach('tc', 'eth0', 'egress', 'two');
    },
  ],
  [
    'classic BPF in tc',
    onPath('bpf on cbr0'),
    (lab) => lab.addFilter('cbr0', `bpf bytecode '1,6 0 0 4294967295,' da`),
  ],
  ['a tcx program on the uplink', onPath('tcx on eth0'), (lab) => lab.hold('tcx', 'eth0', 'ingress')],
  [
    "a tcx program on a device that pods' packets do not use",
    nothing,
    (lab) => lab.hold('tcx', 'docker0', 'egress'),
  ],
  ['an XDP program on the uplink', onPath('XDP on eth0'), (lab) => lab.hold('xdp', 'eth0')],
  [
    'a netkit device to which pods are routed',
    onPath('netkit on nk0'),
    (lab) => {
      lab.netkit();
    },
  ],

  [
    'a program that cannot be listed because tc is missing',
    loaded('to_netdev', tc),
    (lab) => {
      lab.hide('tc');
      lab.load('to_netdev');
    },
  ],
  [
    'a loaded program that may be a tcx program',
    loaded('to_netdev'),
    (lab) => {
      lab.load('to_netdev');
    },
  ],
  [
    'a loaded program, on a kernel without tcx',
    nothing,
    (lab) => {
      lab.kernel('6.1.112-122.189.amzn2023.x86_64');
      lab.load('to_netdev');
    },
  ],
  [
    'a loaded program, on a kernel without tcx and a node without tc',
    loaded('to_netdev', tc),
    (lab) => {
      lab.kernel('6.1.112-122.189.amzn2023.x86_64');
      lab.hide('tc');
      lab.load('to_netdev');
    },
  ],
  [
    'a loaded program that bpftool does not show on any device',
    nothing,
    (lab) => {
      lab.load('to_netdev');
      lab.bpftool('7.4.0');
    },
  ],
  [
    'a loaded program, and a bpftool that does not support tcx',
    loaded('to_netdev'),
    (lab) => {
      lab.load('to_netdev');
      lab.bpftool('7.1.0');
    },
  ],
  [
    'an unnamed program that a process has open, on a node without tc',
    loaded('without a name', tc),
    async (lab) => {
      lab.hide('tc');
      await lab.hold('open', 'any');
    },
  ],
  ['the program of a tracing agent', nothing, (lab) => lab.trace('trace_exec')],
  [
    'cgroup programs loaded by systemd and the kernel',
    nothing,
    (lab) => {
      lab.hide('tc');
      lab.load('sd_fw_ingress', 'sd_bind4', 'restrict_filesystems', 'dump_bpf_map');
    },
  ],
  [
    'no readable kernel symbols, on a node without tc',
    `BPF programs on devices cannot be read (/proc/kallsyms is empty): install ${tc}`,
    (lab) => {
      lab.hide('tc');
      lab.place('/proc/kallsyms', '');
    },
  ],

  // Programs in two output formats: that of bpftool 7.4, and that of the patch that added tcx.
  [
    'tcx programs shown by bpftool',
    onPath('revnat on eth0, snat on eth0'),
    (lab) => {
      lab.bpftool(
        '7.4.0',
        'eth0(4) tcx/ingress revnat prog_id 784 link_id 10',
        'eth0(4) tcx/egress snat prog id 804 link id 11',
      );
    },
  ],

  [
    'pinned programs of the AWS network policy agent',
    nothing,
    async (lab) => {
      await lab.attachToPod('handle_egress');
      await lab.pin(policyPin);
    },
  ],
  [
    'an unpinned program of the AWS network policy agent',
    onPath('handle_egress on eni5f2'),
    (lab) => lab.attachToPod('handle_egress'),
  ],
  [
    "another program in addition to the agent's pinned program",
    onPath('other on eni5f2'),
    async (lab) => {
      await lab.attachToPod('other');
      await lab.pin(policyPin);
    },
  ],
  [
    "a program on the uplink with the same name as the agent's program",
    onPath('handle_egress on eth0'),
    async (lab) => {
      await lab.attach('tc', 'eth0', 'ingress', 'handle_egress');
      await lab.pin(policyPin);
    },
  ],

  [
    'Cilium with masquerading in iptables',
    nothing,
    async (lab) => {
      await lab.cilium(ciliumConfig('ENABLE_IPV4', 'ENABLE_NODEPORT'));
      await lab.attach('tc', 'eth0', 'ingress', 'cil_from_netdev');
      await lab.attach('tc', 'veth0', 'ingress', 'bpf_lxc.o:[from-container]');
      lab.load('cil_from_container', 'tail_handle_ipv4');
    },
  ],
  [
    "another program in addition to Cilium's programs",
    onPath('other on eth0'),
    async (lab) => {
      await lab.cilium(ciliumConfig('ENABLE_IPV4'));
      await lab.attach('tc', 'eth0', 'ingress', 'other');
    },
  ],
  [
    'Cilium 1.12 with masquerading in eBPF',
    masquerading,
    (lab) => lab.cilium(ciliumConfig('ENABLE_MASQUERADE')),
  ],
  [
    'Cilium with IPv4 masquerading in eBPF',
    masquerading,
    (lab) => lab.cilium(ciliumConfig('ENABLE_MASQUERADE_IPV4')),
  ],
  [
    'Cilium with masquerading in eBPF according to its runtime configuration',
    masquerading,
    (lab) => lab.cilium(ciliumConfig('ENABLE_IPV4'), '{\n "EnableBPFMasquerade": true\n}\n'),
  ],
  [
    'Cilium with routing in eBPF',
    `Cilium routes pods' packets in eBPF, past iptables: set bpf.hostLegacyRouting=true, or ${inCilium}`,
    (lab) => lab.cilium(ciliumConfig('ENABLE_HOST_ROUTING')),
  ],
  [
    'Cilium without its settings file',
    'Cilium runs, but /var/run/cilium/state/globals/node_config.h cannot be read: whether it masquerades in eBPF is unknown',
    (lab) => lab.cilium(),
  ],
  [
    'pinned programs of Cilium, without its settings file',
    'Cilium runs, but /var/run/cilium/state/globals/node_config.h cannot be read: whether it masquerades in eBPF is unknown',
    (lab) => lab.pin('tc/globals/cilium_calls'),
  ],
];

describeKernel('BPF programs on the node:', undefined, () => {
  let network: Network;
  let lab: BpfLab;
  beforeAll(async () => {
    network = await openNetwork('auto');
    lab = bpfLab(network);
    // A device that is not on the path from pods to destinations.
    await sh(network.node, 'ip link add name docker0 type bridge; ip addr add 172.17.0.1/16 dev docker0');
  });
  afterEach(() => lab.clear());
  afterAll(() => network.lab.close());

  test.each(evidence)('%s', async (_, expected, prepare) => {
    await prepare(lab);
    const report = await network.apply(backendVpc(), lab.env);
    expect(report).toMatchObject({ code: 0, result: 'applied', proven: expected === nothing });
    expect(report.reason ?? nothing).toBe(expected);
    expect(expected.length).toBeLessThanOrEqual(200);
  });

  test('programs that are loaded later are detected by status, and by repair when the last proof ends', async () => {
    const repair = () => network.peermasq(['repair']);
    const endProof = () =>
      sh(network.node, `sed -i -E '2s/ [0-9]+$/ 1/' '${join(network.node.folder, 'kept/proof')}'`);
    await network.apply(backendVpc());
    expect(await repair()).toMatchObject({ proven: true });
    lab.load('to_netdev');
    expect(await repair()).toMatchObject({ proven: true });
    // Not even a check of everything else reads the programs, and the proof ends no later because of it.
    await sh(network.node, 'ip link add name dummy0 type bridge');
    expect(await repair()).toMatchObject({ proven: true });
    await sh(network.node, 'ip link del dummy0');
    expect(await network.peermasq(['status'])).toMatchObject({ proven: false });
    await endProof();
    expect(await repair()).toMatchObject({ proven: false });
    // From now on, every repair checks the programs, until the node is proven again.
    expect(await repair()).toMatchObject({ proven: false });
  });
});
