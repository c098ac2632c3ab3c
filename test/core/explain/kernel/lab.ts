import { once } from 'node:events';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type Host, type Lab, openLab } from '../../../lab/netns';

export interface SentPacket {
  readonly protocol: 'tcp' | 'udp' | 'icmp' | 'icmpv6';
  readonly source: string;
  /** The source port, or the identifier of a ping. */
  readonly sourcePort: number;
  readonly destination: string;
  readonly destinationPort: number;
  readonly isFromNode: boolean;
}

export interface AgentCommand {
  readonly argv: readonly string[];
  readonly stdin?: string;
}

interface Agent {
  readonly run: (commands: readonly AgentCommand[]) => Promise<string[]>;
  readonly send: (packets: readonly SentPacket[]) => Promise<void>;
  readonly close: () => void;
}

/**
 * A lab with a pod, a node with three uplinks, and a peer that is reachable over each uplink. The peer records every
 * packet that it receives, and drops it.
 */
export interface ExplainLab {
  /** Runs programs on the node, in this order. */
  readonly onNode: Agent['run'];
  /** Sends each packet once. */
  readonly send: (packets: readonly SentPacket[]) => Promise<void>;
  /** Returns the source address of each packet that the peer has received. The keys are those of `packetKeyOf`. */
  readonly received: () => Promise<ReadonlyMap<string, string>>;
  readonly clearReceived: () => Promise<void>;
  readonly close: () => Promise<void>;
}

/**
 * Identifies a packet by its source port. Each source port is used only once in a batch, and the kernel does not
 * change a source port that is free.
 */
export const packetKeyOf = ({ protocol, sourcePort }: Pick<SentPacket, 'protocol' | 'sourcePort'>) =>
  `${protocol.startsWith('icmp') ? 'ping' : protocol} ${sourcePort}`;

/** The addresses in the lab. For IPv6, `second` is an address that no device has. */
export const labAddresses = {
  4: { pod: '10.132.0.10', node: '10.209.0.2', second: '10.209.0.3', other: '192.168.50.2' },
  6: { pod: 'fd00:132::a', node: 'fd00:209::2', second: 'fd00:209::3', other: 'fd00:192::2' },
} as const;

// The sets in which the peer records packets. The peer drops every packet, so it never replies.
const receivedSets = [
  ['seen4', 'meta l4proto { tcp, udp }', 'ip saddr . meta l4proto . th sport'],
  ['seen6', 'meta l4proto { tcp, udp }', 'ip6 saddr . meta l4proto . th sport'],
  ['pings4', 'icmp type echo-request', 'ip saddr . icmp id'],
  ['pings6', 'icmpv6 type echo-request', 'ip6 saddr . icmpv6 id'],
] as const;
const listen = `table inet peer {
${receivedSets.map(([set, , what]) => `set ${set} { typeof ${what}; size 65535; flags dynamic; }\n`).join('')}
  chain prerouting {
    type filter hook prerouting priority raw
    ${receivedSets.map(([set, which, what]) => `${which} update @${set} { ${what} }\n`).join('')}
    drop
  }
}`;

export async function openExplainLab(): Promise<ExplainLab> {
  const lab = openLab();
  const [pod, node, peer] = await Promise.all(['pod', 'node', 'peer'].map((label) => lab.machine(label)));
  if (!pod || !node || !peer) throw new Error('no machines');
  await connect(lab, { pod, node, peer });
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
      const [json = ''] = await onPeer.run([{ argv: ['nft', '-j', 'list', 'table', 'inet', 'peer'] }]);
      return parseReceived(json);
    },
    clearReceived: async () => {
      const flush = receivedSets.map(([set]) => `flush set inet peer ${set}\n`).join('');
      await onPeer.run([{ argv: ['nft', '-f', '-'], stdin: flush }]);
    },
    close: async () => {
      for (const agent of [onPod, onNode, onPeer]) agent.close();
      await lab.close();
    },
  };
}

function parseReceived(json: string): Map<string, string> {
  const { nftables } = JSON.parse(json) as {
    nftables: { set?: { elem?: { concat: [string, string, number] | [string, number] }[] } }[];
  };
  const entries = nftables.flatMap(({ set }) => set?.elem ?? []);
  return new Map(
    entries.map(({ concat: [source, ...which] }) => [
      which.length === 1 ? `ping ${which[0]}` : which.join(' '),
      source,
    ]),
  );
}

interface LabHosts {
  readonly pod: Host;
  readonly node: Host;
  readonly peer: Host;
}

async function connect(lab: Lab, { pod, node, peer }: LabHosts): Promise<void> {
  const v4 = labAddresses[4];
  const v6 = labAddresses[6];
  await lab.addVethPair(
    { machine: pod, device: 'eth0', addresses: [`${v4.pod}/24`, `${v6.pod}/64`] },
    { machine: node, device: 'cbr0', addresses: ['10.132.0.1/24', 'fd00:132::1/64'] },
  );
  // eth0 has addresses in two subnets, and a second address in one of these subnets.
  await lab.addVethPair(
    {
      machine: node,
      device: 'eth0',
      addresses: [`${v4.node}/16`, `${v4.second}/16`, '172.31.0.2/24', `${v6.node}/64`],
    },
    { machine: peer, device: 'eth0', addresses: ['10.209.0.1/16', '172.31.0.1/24', 'fd00:209::1/64'] },
  );
  await lab.addVethPair(
    { machine: node, device: 'eth1', addresses: [`${v4.other}/24`, `${v6.other}/64`] },
    { machine: peer, device: 'eth1', addresses: ['192.168.50.1/24', 'fd00:192::1/64'] },
  );
  // Only policy routing uses eth2.
  await lab.addVethPair(
    { machine: node, device: 'eth2', addresses: ['192.168.60.2/24', 'fd00:196::2/64'] },
    { machine: peer, device: 'eth2', addresses: ['192.168.60.1/24', 'fd00:196::1/64'] },
  );
  await pod.run(['ip', 'route', 'add', 'default', 'via', '10.132.0.1']);
  await pod.run(['ip', 'route', 'add', 'default', 'via', 'fd00:132::1']);
  for (const [range, via] of [
    ['default', '10.209.0.1'],
    ['10.193.0.0/16', '172.31.0.1'],
    ['10.50.0.0/16', '192.168.50.1'],
    ['::/0', 'fd00:209::1'],
    ['fd00:50::/32', 'fd00:192::1'],
  ] as const) {
    await node.run(['ip', 'route', 'add', range, 'via', via]);
  }
  await node.sysctl('ipv4/ip_forward', '1');
  await node.sysctl('ipv6/conf/all/forwarding', '1');
  // Turns rp_filter off, so that the node does not drop packets that arrive on an asymmetric route.
  for (const name of ['all', 'default', 'eth0', 'eth1', 'eth2', 'cbr0'])
    await node.sysctl(`ipv4/conf/${name}/rp_filter`, '0');
  await addPermanentNeighbours(
    { host: node, device: 'eth0' },
    { host: peer, device: 'eth0', addresses: ['10.209.0.1', '172.31.0.1', '172.31.0.9', 'fd00:209::1'] },
  );
  await addPermanentNeighbours(
    { host: node, device: 'eth1' },
    { host: peer, device: 'eth1', addresses: ['192.168.50.1', 'fd00:192::1'] },
  );
  await addPermanentNeighbours(
    { host: node, device: 'eth2' },
    { host: peer, device: 'eth2', addresses: ['192.168.60.1', 'fd00:196::1'] },
  );
  await addPermanentNeighbours(
    { host: pod, device: 'eth0' },
    { host: node, device: 'cbr0', addresses: ['10.132.0.1', 'fd00:132::1'] },
  );
  await addPermanentNeighbours(
    { host: node, device: 'cbr0' },
    { host: pod, device: 'eth0', addresses: [v4.pod, v6.pod] },
  );
}

interface LinkEnd {
  readonly host: Host;
  readonly device: string;
}

/**
 * Adds permanent neighbour entries. If a first packet had to wait for address resolution, it could arrive after the
 * next packet, and IPv6 rules could drop the neighbour solicitation.
 */
async function addPermanentNeighbours(
  { host, device }: LinkEnd,
  neighbour: LinkEnd & { readonly addresses: readonly string[] },
): Promise<void> {
  const mac = (await neighbour.host.run(['cat', `/sys/class/net/${neighbour.device}/address`])).trim();
  const lines = neighbour.addresses.map(
    (address) => `neigh replace ${address} lladdr ${mac} dev ${device} nud permanent\n`,
  );
  await host.run(['ip', '-batch', '-'], { stdin: lines.join('') });
}

async function openAgent(host: Host): Promise<Agent> {
  const path = join(host.folder, 'agent.sock');
  const program = host.spawn([process.execPath, join(__dirname, 'agent.mjs'), path]);
  await program.output(/listening/);
  const socket = createConnection(path);
  await once(socket, 'connect');
  const responses = createInterface(socket)[Symbol.asyncIterator]();
  const sendRequest = async (request: unknown): Promise<string[]> => {
    socket.write(`${JSON.stringify(request)}\n`);
    const { value } = (await responses.next()) as { value: string };
    const { outputs, error } = JSON.parse(value) as { outputs?: string[]; error?: string };
    if (!outputs) throw new Error(`${host.name}: ${error ?? 'no answer'}`);
    return outputs;
  };
  return {
    run: (commands) => sendRequest({ run: commands }),
    send: async (packets) => {
      await sendRequest({ send: packets });
    },
    close: () => socket.destroy(),
  };
}
