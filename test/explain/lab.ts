import { once } from 'node:events';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type Host, type Lab, openLab } from '../lab/netns';

export interface Sent {
  readonly protocol: 'tcp' | 'udp';
  readonly source: string;
  readonly sourcePort: number;
  readonly destination: string;
  readonly destinationPort: number;
  readonly isFromNode: boolean;
}

export interface Command {
  readonly argv: readonly string[];
  readonly stdin?: string;
}

interface Agent {
  readonly run: (commands: readonly Command[]) => Promise<string[]>;
  readonly send: (packets: readonly Sent[]) => Promise<void>;
  readonly close: () => void;
}

/** A pod, its node with two ways out, and a peer at the end of both that tells what it receives, and drops it. */
export interface ExplainLab {
  /** Runs programs on the node, in order. */
  readonly onNode: Agent['run'];
  /** Sends each packet once; `key` of what the peer has received → its source address. */
  readonly send: (packets: readonly Sent[]) => Promise<void>;
  readonly received: () => Promise<ReadonlyMap<string, string>>;
  readonly forget: () => Promise<void>;
  readonly close: () => Promise<void>;
}

/** The source port tells packets apart: each is used once in a batch, and a free one is kept by the kernel. */
export const keyOf = ({ protocol, sourcePort }: Pick<Sent, 'protocol' | 'sourcePort'>) =>
  `${protocol} ${sourcePort}`;

export const places = {
  pod: '10.132.0.10',
  node: '10.209.0.2',
  second: '10.209.0.3',
  other: '192.168.50.2',
} as const;

// All that arrives is written down and dropped, so that nothing comes back.
const listen = `table inet peer {
  set seen {
    type ipv4_addr . inet_proto . inet_service
    size 65535
    flags dynamic
  }
  chain prerouting {
    type filter hook prerouting priority raw
    meta l4proto { tcp, udp } update @seen { ip saddr . meta l4proto . th sport }
    drop
  }
}`;

export async function openExplainLab(): Promise<ExplainLab> {
  const lab = openLab();
  const [pod, node, peer] = await Promise.all(['pod', 'node', 'peer'].map((label) => lab.machine(label)));
  if (!pod || !node || !peer) throw new Error('no machines');
  await connect(lab, pod, node, peer);
  const [onPod, onNode, onPeer] = await Promise.all([pod, node, peer].map(openAgent));
  if (!onPod || !onNode || !onPeer) throw new Error('no agents');
  await onPeer.run([{ argv: ['nft', '-f', '-'], stdin: listen }]);
  return {
    onNode: onNode.run,
    send: async (packets) => {
      await onPod.send(packets.filter(({ isFromNode }) => !isFromNode));
      await onNode.send(packets.filter(({ isFromNode }) => isFromNode));
    },
    received: async () => {
      const [json = ''] = await onPeer.run([{ argv: ['nft', '-j', 'list', 'set', 'inet', 'peer', 'seen'] }]);
      return readSeen(json);
    },
    forget: async () => {
      await onPeer.run([{ argv: ['nft', 'flush', 'set', 'inet', 'peer', 'seen'] }]);
    },
    close: async () => {
      for (const agent of [onPod, onNode, onPeer]) agent.close();
      await lab.close();
    },
  };
}

function readSeen(json: string): Map<string, string> {
  const { nftables } = JSON.parse(json) as {
    nftables: { set?: { elem?: { concat: [string, string, number] }[] } }[];
  };
  const entries = nftables.flatMap(({ set }) => set?.elem ?? []);
  return new Map(
    entries.map(({ concat: [source, protocol, sourcePort] }) => [`${protocol} ${sourcePort}`, source]),
  );
}

async function connect(lab: Lab, pod: Host, node: Host, peer: Host): Promise<void> {
  const { node: address, second, other } = places;
  await lab.cable(
    { machine: pod, device: 'eth0', addresses: [`${places.pod}/24`] },
    { machine: node, device: 'cbr0', addresses: ['10.132.0.1/24'] },
  );
  // Two ranges on eth0, and a second address in one of them.
  await lab.cable(
    { machine: node, device: 'eth0', addresses: [`${address}/16`, `${second}/16`, '172.31.0.2/24'] },
    { machine: peer, device: 'eth0', addresses: ['10.209.0.1/16', '172.31.0.1/24'] },
  );
  await lab.cable(
    { machine: node, device: 'eth1', addresses: [`${other}/24`] },
    { machine: peer, device: 'eth1', addresses: ['192.168.50.1/24'] },
  );
  await pod.run(['ip', 'route', 'add', 'default', 'via', '10.132.0.1']);
  for (const [range, via] of [
    ['default', '10.209.0.1'],
    ['10.193.0.0/16', '172.31.0.1'],
    ['10.50.0.0/16', '192.168.50.1'],
  ] as const) {
    await node.run(['ip', 'route', 'add', range, 'via', via]);
  }
  await node.setting('ipv4/ip_forward', '1');
  // A packet whose way back is another way is the peer's to judge, not the node's.
  for (const name of ['all', 'default', 'eth0', 'eth1', 'cbr0'])
    await node.setting(`ipv4/conf/${name}/rp_filter`, '0');
  await settle(node, peer);
}

/** Neighbours that need not be asked for: a first packet that waits for an answer may come after the next. */
async function settle(node: Host, peer: Host): Promise<void> {
  for (const [device, addresses] of [
    ['eth0', ['10.209.0.1', '172.31.0.1', '172.31.0.9']],
    ['eth1', ['192.168.50.1']],
  ] as const) {
    const mac = (await peer.run(['cat', `/sys/class/net/${device}/address`])).trim();
    for (const address of addresses) {
      await node.run(['ip', 'neigh', 'replace', address, 'lladdr', mac, 'dev', device, 'nud', 'permanent']);
    }
  }
}

async function openAgent(host: Host): Promise<Agent> {
  const path = join(host.folder, 'agent.sock');
  const program = host.spawn([process.execPath, join(__dirname, 'agent.mjs'), path]);
  await program.output(/listening/);
  const socket = createConnection(path);
  await once(socket, 'connect');
  const answers = createInterface(socket)[Symbol.asyncIterator]();
  const ask = async (request: unknown): Promise<string[]> => {
    socket.write(`${JSON.stringify(request)}\n`);
    const { value } = (await answers.next()) as { value: string };
    const { outputs, error } = JSON.parse(value) as { outputs?: string[]; error?: string };
    if (!outputs) throw new Error(`${host.name}: ${error ?? 'no answer'}`);
    return outputs;
  };
  return {
    run: (commands) => ask({ run: commands }),
    send: async (packets) => {
      await ask({ send: packets });
    },
    close: () => socket.destroy(),
  };
}
