import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  type ExecOptions,
  type Host,
  type Lab,
  openLab,
  echoServerCommand,
  type RunningProcess,
} from '../lab/netns';
import { nodeProgramFile } from '../lab/node-program';
import { functionsReport, programRunnerOn, type ProgramRunner, reportLine } from './program-runner';

export const program = nodeProgramFile;

export const backends = ['iptables-nft', 'iptables-legacy', 'nft'] as const;
export type Backend = (typeof backends)[number];

/**
 * The backends of tests that run on one of them in `npm test`, and on each in `npm run test:environments`. The files
 * that use this constant are listed in package.json.
 */
export const testedBackends: readonly Backend[] =
  process.env['PEERMASQ_ENVIRONMENTS'] === 'all' ? backends : ['iptables-nft'];

/** Returns why tests of the backend cannot run here, or undefined. */
export function missing(backend: Backend): string | undefined {
  const command = backend === 'nft' ? 'nft' : `${backend}-restore`;
  const isThere = ['/usr/sbin', '/sbin'].some((folder) => existsSync(join(folder, command)));
  return isThere ? undefined : `${command} is not installed`;
}

/** The line of JSON that the node program prints. `code` is the program's exit code. */
export type Report = {
  result: string;
  proven: boolean;
  id: string | null;
  offered?: string;
  generation: number | null;
  backend: string | null;
  booted?: number;
  reason?: string;
  rules: number;
  flushed: number;
  packets: number;
  persisted: string;
  drift: string[];
  masqueraders: string[];
  warnings: string[];
  basis?: string[];
  probes: { to: string; from: string | null; reached: boolean }[];
  ports?: { to: string; used: number; range: number }[];
  code: number | null;
};

/**
 * The network in the first write-up: pod 10.132.0.10 on node 10.209.0.2, a router that drops packets with unknown
 * sources, and peer 10.193.0.3, which responds with the source address that it sees. The same exists in IPv6, under
 * fd00::/16.
 */
export type Network = {
  lab: Lab;
  pod: Host;
  node: Host;
  router: Host;
  peer: Host;
  service: RunningProcess;
  /** Runs the node program on the node. */
  peermasq: (args: readonly string[], options?: ExecOptions) => Promise<Report>;
  /** Runs the node program and returns its raw output. */
  execute: ProgramRunner;
  apply: (ruleset: string | Buffer, env?: Record<string, string>) => Promise<Report>;
  /** Hides programs by mounting files over them until `clear` is called. */
  hide: (...programs: string[]) => void;
  mount: (source: string, target: string) => void;
  /** The targets of these mounts. */
  mounted: string[];
  /** Returns the source address that the peer sees in a request from the pod, or `dropped`. */
  sourceSeen: (destination?: string) => Promise<string>;
};

export async function openNetwork(backend: string): Promise<Network> {
  const lab = openLab();
  const [pod, node, router, peer] = await Promise.all([
    lab.machine('pod'),
    lab.machine('node'),
    lab.machine('router'),
    lab.machine('peer'),
  ]);
  await lab.addVethPair(
    { machine: pod, device: 'eth0', addresses: ['10.132.0.10/24', 'fd00:132::10/64'] },
    { machine: node, device: 'veth0' },
  );
  await lab.bridge({ machine: node, device: 'cbr0', addresses: ['10.132.0.1/24', 'fd00:132::1/64'] }, [
    'veth0',
  ]);
  await lab.addVethPair(
    { machine: node, device: 'eth0', addresses: ['10.209.0.2/24', 'fd00:209::2/64'] },
    { machine: router, device: 'nodes', addresses: ['10.209.0.1/24', 'fd00:209::1/64'] },
  );
  await lab.addVethPair(
    { machine: router, device: 'peer', addresses: ['10.193.0.1/24', 'fd00:193::1/64'] },
    { machine: peer, device: 'eth0', addresses: ['10.193.0.3/24', 'fd00:193::3/64'] },
  );
  const forward = 'echo 1 | tee /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding\n';
  const defaultVia = (gateway4: string, gateway6: string) =>
    `ip route add default via ${gateway4}\nip -6 route add default via ${gateway6}\n`;
  await Promise.all([
    sh(pod, defaultVia('10.132.0.1', 'fd00:132::1')),
    sh(node, defaultVia('10.209.0.1', 'fd00:209::1') + forward),
    // The peer responds at every address from 10.192.0.0 to 10.207.255.255.
    sh(peer, `${defaultVia('10.193.0.1', 'fd00:193::1')}ip route add local 10.192.0.0/12 dev lo`),
    sh(router, `${forward}ip route add 10.192.0.0/12 via 10.193.0.3\nnft '${routerRules}'`),
  ]);
  const service = peer.spawn(echoServerCommand(8080));
  await service.output(/listening on 8080/);

  const execute = programRunnerOn(node, backend);
  const peermasq: Network['peermasq'] = async (args, options) => {
    const ended = await execute(args, options);
    if (args[0] === 'apply' || args[0] === 'repair') functionsReport(ended);
    return { ...(JSON.parse(reportLine(ended)) as Report), code: ended.code };
  };
  const mounted: string[] = [];
  const mount = (source: string, target: string) => {
    node.mount(source, target);
    mounted.push(target);
  };
  // Hides a program by mounting an empty file over it.
  const nothing = join(node.folder, 'nothing');
  writeFileSync(nothing, '', { mode: 0o644 });
  return {
    hide: (...programs) => {
      for (const name of programs) mount(nothing, `/usr/sbin/${name}`);
    },
    ...{ mount, mounted, lab, pod, node, router, peer, service, execute, peermasq },
    apply: (ruleset, env = {}) => peermasq(['apply'], { stdin: ruleset, env }),
    sourceSeen: async (destination = '10.193.0.3') => {
      const url = `http://${destination.includes(':') ? `[${destination}]` : destination}:8080/`;
      const { stdout } = await pod.exec(['curl', '-s', '--max-time', '1', url]);
      return stdout.trim() || 'dropped';
    },
  };
}

/** Runs a shell script up to the first error, and returns its output. */
export const sh = (machine: Host, script: string) => machine.run(['sh', '-ec', script]);

/**
 * Removes everything that a test left on the node: rules, sets, mounts and stored files. Tables of iptables-legacy
 * remain, but are empty.
 */
export async function clear({ node, mounted }: Network): Promise<void> {
  const unmount = mounted.splice(0).map((target) => `umount '${target}'\n`);
  await sh(
    node,
    `${unmount.reverse().join('')}
    nft flush ruleset
    for family in ip ip6; do
      [ ! -e /proc/net/\${family}_tables_names ] || while read -r table; do
        printf '*%s\\nCOMMIT\\n' "$table"
      done </proc/net/\${family}_tables_names | \${family}tables-legacy-restore
    done
    ipset destroy
    rm -rf '${join(node.folder, 'kept')}'`,
  );
}

/** Returns table nat as `iptables-save` prints it, without comments, counters and empty chains. */
export async function natTable({ node }: Network, command: string): Promise<string> {
  const text = await node.run([`${command}-save`, '-t', 'nat']);
  const isRelevant = (line: string) => /^(-A|:[A-Z])/.test(line) && !/^:(PREROUTING|INPUT|OUTPUT)/.test(line);
  return text
    .split('\n')
    .filter(isRelevant)
    .map((line) => line.replace(/ \[.*\]$/, ''))
    .join('\n');
}

const routerRules = `
table inet router {
  counter dropped {}
  set known4 { type ipv4_addr; flags interval; elements = { 10.209.0.0/16, 10.192.0.0/12 } }
  set known6 { type ipv6_addr; flags interval; elements = { fd00:209::/32, fd00:193::/32 } }
  chain forward {
    type filter hook forward priority 0; policy drop;
    ip saddr @known4 accept
    ip6 saddr @known6 accept
    meta l4proto ipv6-icmp accept
    counter name dropped
  }
}
`;

/** Returns a rule set: the two header lines and the given lines. */
export const ruleset = (generation: number | string, ...lines: string[]) =>
  ['peermasq/1', `generation ${generation}`, ...lines, ''].join('\n');

/** The rule set that fixes the first write-up's problem. */
export const backendVpc = (generation = 100) =>
  ruleset(
    generation,
    'source 10.132.0.0/14',
    'exempt 10.132.0.0/14 pods',
    'masquerade 10.193.0.0/16 backend-vpc',
  );
