import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { kernelSymbols, type RunningProcess } from '../lab/netns';
import { clear, type Network, sh } from './network';

const attachBpf = join(__dirname, '../lab/attach-bpf.pl');

/** Returns an excerpt of the settings that Cilium 1.12 to 1.17 writes for the compiler of its BPF programs. */
export const ciliumConfig = (...defines: string[]) =>
  ['/*', ' cilium.v4.external.str 10.209.0.2', ' */', '#define CILIUM_HOST_IFINDEX 5', ...defines, '']
    .map((line) => (line.startsWith('ENABLE') ? `#define ${line} 1` : line))
    .join('\n');

/**
 * A lab that attaches real BPF programs to the node's devices. Where this kernel does not support a feature, the
 * node's tools show recorded output.
 */
export type BpfLab = ReturnType<typeof bpfLab>;

export function bpfLab(network: Network) {
  const { node } = network;
  const bin = join(node.folder, 'bin');
  const held: RunningProcess[] = [];
  let files = 0;

  const attach = async (...args: string[]): Promise<void> => {
    await node.run(['perl', attachBpf, ...args]);
  };
  /** Mounts a file with this text over the target. */
  const place = (target: string, text: string): void => {
    const file = join(node.folder, `placed-${String(++files)}`);
    writeFileSync(file, text);
    network.mount(file, target);
  };
  /** Installs a program in the first folder of PATH. */
  const install = (name: string, text: string): void => {
    mkdirSync(bin, { recursive: true });
    writeFileSync(join(bin, name), text, { mode: 0o755 });
  };

  const openTag = async (): Promise<string> => {
    const text = await sh(node, 'grep -rhs ^prog_tag /proc/[0-9]*/fdinfo || true');
    const [, tag] = /prog_tag:\s+([0-9a-f]{16})/.exec(text) ?? [];
    if (tag === undefined) throw new Error('no process has a BPF program open');
    return tag;
  };

  return {
    /** The environment variables that the node program needs to find these programs. */
    env: { PATH: `${bin}:${process.env['PATH'] ?? ''}` },
    attach,
    place,
    hide: (program: string): void => {
      network.hide(program);
    },
    /** Adds a filter for the packets that the device receives. */
    addFilter: async (device: string, filter: string): Promise<void> => {
      await sh(node, `tc qdisc add dev ${device} clsact; tc filter add dev ${device} ingress ${filter}`);
    },
    /** Attaches a program with a process that keeps it attached until `clear` is called. */
    hold: async (...args: string[]): Promise<void> => {
      const program = node.spawn(['perl', attachBpf, ...args]);
      held.push(program);
      await program.output(/attached/);
    },
    /** Simulates a tracing agent that runs in its own network namespace and has loaded this program. */
    trace: async (name: string): Promise<void> => {
      const program = node.spawn(['unshare', '--net', 'perl', attachBpf, 'trace']);
      held.push(program);
      await program.output(/attached/);
      const tag = await openTag();
      place('/proc/kallsyms', `${kernelSymbols}ffffffffc0b0 t bpf_prog_${tag}_${name}\t[bpf]\n`);
    },
    /** Attaches the program to a pod's device, which gets a device name as on EKS. */
    attachToPod: async (name: string): Promise<void> => {
      await node.run(['ip', 'link', 'set', 'veth0', 'name', 'eni5f2']);
      await attach('tc', 'eni5f2', 'ingress', name);
    },
    pin: async (path: string): Promise<void> => {
      await sh(
        node,
        `mountpoint -q /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf
        mkdir -p "$(dirname /sys/fs/bpf/${path})"
        perl '${attachBpf}' pin '/sys/fs/bpf/${path}'`,
      );
    },
    /** Makes the kernel appear to have loaded programs with these names. */
    load: (...names: string[]): void => {
      const line = (name: string, i: number) =>
        `ffffffffc0b${String(i)} t bpf_prog_${'0'.repeat(16)}_${name}\t[bpf]\n`;
      place('/proc/kallsyms', kernelSymbols + names.map(line).join(''));
    },
    kernel: (release: string): void => {
      place('/proc/sys/kernel/osrelease', `${release}\n`);
    },
    cilium: async (config?: string, runtime = '{\n "EnableBPFMasquerade": false\n}\n'): Promise<void> => {
      mkdirSync('/run/cilium', { recursive: true });
      const state = '/run/cilium/state';
      await sh(
        node,
        `mount -t tmpfs tmpfs /run/cilium
        ip link add name cilium_host type bridge
        mkdir -p ${state}/globals`,
      );
      if (config === undefined) return;
      await node.run(['tee', `${state}/globals/node_config.h`], { stdin: config });
      await node.run(['tee', `${state}/agent-runtime-config.json`], { stdin: runtime });
    },
    bpftool: (version: string, ...tc: string[]): void => {
      const net = ['xdp:', '', 'tc:', ...tc, '', 'flow_dissector:', '', 'netfilter:'].join('\n');
      const show = `cat <<'END'\n${net}\nEND`;
      install('bpftool', `#!/bin/sh\ncase $1 in version) echo 'bpftool v${version}' ;; *) ${show}\nesac\n`);
    },
    /**
     * Makes `ip` show a netkit device on the pods' bridge, in the output format of the patch that added netkit to
     * iproute2.
     */
    netkit: (): void => {
      const device = [
        '8: nk0@nk1: <BROADCAST,MULTICAST,NOARP,UP,LOWER_UP> mtu 1500 qdisc noop state UP master cbr0',
        'link/ether 00:00:00:00:00:00 brd ff:ff:ff:ff:ff:ff promiscuity 0 allmulti 0 minmtu 68 maxmtu 65535',
        'netkit mode l3 type primary policy forward numtxqueues 1 numrxqueues 1',
      ].join(' ');
      const show = `case "$*" in '-o -d link') echo '${device}' ;; esac`;
      install('ip', `#!/bin/sh\n/bin/ip "$@"\n${show}\n`);
    },
    clear: async (): Promise<void> => {
      await Promise.all(held.splice(0).map((program) => program.stop()));
      await sh(
        node,
        `ip link set eni5f2 name veth0 2>/dev/null || true
        for device in eth0 veth0 docker0 cbr0; do tc qdisc del dev $device clsact 2>/dev/null || true; done
        while umount /sys/fs/bpf 2>/dev/null; do :; done
        while umount /run/cilium 2>/dev/null; do :; done
        ip link del cilium_host 2>/dev/null || true`,
      );
      rmSync(bin, { recursive: true, force: true });
      await clear(network);
    },
  };
}
