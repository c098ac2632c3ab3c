import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import * as z from 'zod';
import type { Machine } from './machine';
import { connectToTestProcess, killProcesses, nodeMachineOn } from './node-machine';
import { openLab, type Host, type Lab, type RunningProcess } from './netns';
import type { Network, Service, Topology } from './topologies';

export interface RequestResult {
  /** Whether the service responded. False if it accepted the connection but did not respond. */
  readonly reached: boolean;
  readonly body?: string;
  /** The source address that the peer's socket saw. */
  readonly sourceSeenByPeer?: string;
  /** Why the service was not reached. */
  readonly reason?: string;
}

export interface Client {
  /**
   * Sends a request to the topology's peer. A hanging request keeps trying to connect until `timeoutMs` (default:
   * 1,500, which is enough for two SYNs). To test whether a hanging request recovers, pass a longer timeout and await
   * the promise later.
   */
  readonly request: (timeoutMs?: number) => Promise<RequestResult>;
}

/** Maps an address to a number of packets. */
export type Counts = Readonly<Record<string, number>>;

export interface Router {
  /**
   * Returns the numbers of packets that were dropped because their source or destination is outside the router's own
   * network and the linked networks.
   */
  readonly dropped: () => Promise<{ readonly sources: Counts; readonly destinations: Counts }>;
}

export interface Networks {
  readonly topology: Topology;
  readonly node: Machine & Client;
  /** The machine that the node runs on. A test can also boot a complete system on it. */
  readonly nodeHost: Host;
  readonly podHost: Host;
  readonly pod: Client;
  /** Returns the router of the network with this name. */
  readonly router: (network: string) => Router;
  /** Removes the routes from the peer's network, so that requests to it hang regardless of the node's rules. */
  readonly cut: () => Promise<void>;
  /** The address at which the node reaches servers in this process. */
  readonly managementAddress: string;
  /**
   * Resets the node: ends its programs, removes its rules and flows, and keeps its files. Then adds the rules of the
   * kubelet and the network plugin again, but not those of peermasq.
   */
  readonly resetNode: () => Promise<void>;
  /** Ends all programs in the networks, including detached ones, and removes the networks. */
  readonly close: () => Promise<void>;
}

export interface NetworksOptions {
  /** The value for `managementAddress`, such as the metadata server's address. Defaults to a unique address. */
  readonly managementAddress?: string;
}

/** Builds a topology from network namespaces. It must be called inside test/lab/enter.mjs. */
export async function buildNetworks(topology: Topology, options: NetworksOptions = {}): Promise<Networks> {
  const lab = openLab();
  try {
    return await build(lab, topology, options);
  } catch (error) {
    await lab.close();
    throw error;
  }
}

async function build(lab: Lab, topology: Topology, options: NetworksOptions): Promise<Networks> {
  const { networks, node, peer } = topology;
  const [nodeHost, podHost, peerHost, ...routerHosts] = await Promise.all([
    lab.machine('node'),
    lab.machine('pod'),
    lab.machine('peer'),
    ...networks.map(({ name }) => lab.machine(`router-${name}`)),
  ]);
  const routers = new Map(
    zip(networks, routerHosts).map(([network, host]) => [network.name, { network, host }]),
  );
  const routerOf = (name: string) =>
    assertDefined(routers.get(name), `${topology.name} has no network ${name}`);

  await Promise.all([
    joinNetwork(lab, nodeHost, node.address, routerOf(node.network)),
    joinNetwork(lab, peerHost, peer.address, routerOf(peer.network)),
  ]);
  for (const [index, { between }] of topology.links.entries()) {
    await linkRouters(lab, index, routerOf(between[0]), routerOf(between[1]));
  }
  const [service, managementAddress] = await Promise.all([
    startService(peerHost, peer),
    connectToTestProcess(nodeHost, options.managementAddress),
    addPod(lab, nodeHost, podHost, node.pods),
    addRules(nodeHost, node.rules),
    ...networks.map((network) => configureRouter(routerOf(network.name).host, network, topology)),
  ]);

  return {
    topology,
    node: { ...nodeMachineOn(nodeHost), ...clientOn(nodeHost, peer, service) },
    nodeHost,
    podHost,
    pod: clientOn(podHost, peer, service),
    router: (name) => routerOn(routerOf(name).host),
    managementAddress,
    cut: async () => {
      const { host, network } = routerOf(peer.network);
      for (const { range } of networks)
        if (range !== network.range) await host.run(['ip', 'route', 'del', range]);
    },
    resetNode: async () => {
      await killProcesses(nodeHost);
      await nodeHost.run(['nft', 'flush', 'ruleset']);
      await nodeHost.run(['conntrack', '--flush']);
      await addRules(nodeHost, node.rules);
    },
    close: async () => {
      await killProcesses(nodeHost);
      await lab.close();
    },
  };
}

const addRules = (host: Host, rules: readonly string[]): Promise<string> =>
  host.run(['iptables-restore', '--noflush'], { stdin: `*nat\n${rules.join('\n')}\nCOMMIT\n` });

/** Connects a host to its network's router, which is the host's default gateway. */
async function joinNetwork(
  lab: Lab,
  host: Host,
  address: string,
  { network, host: router }: { network: Network; host: Host },
): Promise<void> {
  const [gateway, prefixLength] = network.gateway.split('/');
  const port = { machine: router, device: 'vpc', addresses: [network.gateway] };
  await lab.addVethPair({ machine: host, device: 'eth0', addresses: [`${address}/${prefixLength}`] }, port);
  await host.run([
    'ip',
    'route',
    'add',
    'default',
    'via',
    assertDefined(gateway, 'a gateway needs an address'),
  ]);
}

type NetworkRouter = { network: Network; host: Host };

/** Connects two routers. Each router gets a route to the other's network. */
async function linkRouters(lab: Lab, index: number, one: NetworkRouter, other: NetworkRouter): Promise<void> {
  const device = `link${index}`;
  const [local, remote] = [`192.0.2.${2 * index}`, `192.0.2.${2 * index + 1}`];
  await lab.addVethPair(
    { machine: one.host, device, addresses: [`${local}/31`] },
    { machine: other.host, device, addresses: [`${remote}/31`] },
  );
  await one.host.run(['ip', 'route', 'add', other.network.range, 'via', remote]);
  await other.host.run(['ip', 'route', 'add', one.network.range, 'via', local]);
}

/** Makes a host a router that forwards packets between known ranges, and drops and counts all other packets. */
async function configureRouter(host: Host, network: Network, { networks, links }: Topology): Promise<void> {
  const linked = links.map(({ between }) => between).filter((names) => names.includes(network.name));
  const known = networks.filter(
    ({ name }) => name === network.name || linked.some((names) => names.includes(name)),
  );
  await host.sysctl('ipv4/ip_forward', '1');
  await host.run([
    'nft',
    `table ip router {
      set known { type ipv4_addr; flags interval; elements = { ${known.map(({ range }) => range).join(', ')} }; }
      set sources { type ipv4_addr; size 1024; flags dynamic; }
      set destinations { type ipv4_addr; size 1024; flags dynamic; }
      chain prerouting {
        type filter hook prerouting priority raw; policy drop;
        ip saddr @known ip daddr @known accept
        ip saddr != @known update @sources { ip saddr counter }
        ip daddr != @known update @destinations { ip daddr counter }
      }
    }`,
  ]);
}

const countedSet = z.object({
  nftables: z.array(
    z.object({
      set: z
        .object({
          elem: z
            .array(
              z.object({ elem: z.object({ val: z.string(), counter: z.object({ packets: z.number() }) }) }),
            )
            .default([]),
        })
        .optional(),
    }),
  ),
});

function routerOn(host: Host): Router {
  const counts = async (set: string): Promise<Counts> => {
    const listed = countedSet.parse(
      JSON.parse(await host.run(['nft', '-j', 'list', 'set', 'ip', 'router', set])),
    );
    const elements = listed.nftables.flatMap((object) => object.set?.elem ?? []);
    return Object.fromEntries(elements.map(({ elem }) => [elem.val, elem.counter.packets]));
  };
  return {
    dropped: async () => {
      const [sources, destinations] = await Promise.all([counts('sources'), counts('destinations')]);
      return { sources, destinations };
    },
  };
}

async function addPod(lab: Lab, node: Host, pod: Host, { bridge, pod: address }: Topology['node']['pods']) {
  const [gateway, prefixLength] = bridge.split('/');
  await lab.addVethPair(
    { machine: pod, device: 'eth0', addresses: [`${address}/${prefixLength}`] },
    { machine: node, device: 'vethpod' },
  );
  await lab.bridge({ machine: node, device: 'cbr0', addresses: [bridge] }, ['vethpod']);
  await pod.run([
    'ip',
    'route',
    'add',
    'default',
    'via',
    assertDefined(gateway, 'a bridge needs an address'),
  ]);
  await node.sysctl('ipv4/ip_forward', '1');
}

async function startService(host: Host, { protocol, port }: Service): Promise<RunningProcess> {
  const service = host.spawn([process.execPath, join(__dirname, 'peer-service.mjs'), protocol, String(port)]);
  await service.output(/^listening/m);
  return service;
}

const requestResult = z.object({
  reached: z.boolean(),
  body: z.string().exactOptional(),
  reason: z.string().exactOptional(),
});

/** Returns a command that sends a request and prints the result as JSON, except for the source that the peer saw. */
export const requestCommand = (
  { protocol, address, port }: Pick<Service, 'protocol' | 'address' | 'port'>,
  id: string,
  timeoutMs: number,
): string[] => [
  ...[process.execPath, join(__dirname, 'peer-client.mjs')],
  ...[protocol, address, String(port), id, String(timeoutMs)],
];

function clientOn(host: Host, { protocol, address, port }: Service, service: RunningProcess): Client {
  return {
    request: async (timeoutMs = 1_500) => {
      const id = randomUUID();
      const client = host.spawn(requestCommand({ protocol, address, port }, id, timeoutMs));
      const { stdout, stderr } = await client.ended;
      if (stdout === '') return { reached: false, reason: stderr || 'the request was aborted' };
      const result = requestResult.parse(JSON.parse(stdout));
      if (!result.reached) return result;
      const [, sourceSeenByPeer = ''] = await service.output(new RegExp(`^request ${id} from (\\S+)$`, 'm'));
      return { ...result, sourceSeenByPeer };
    },
  };
}

function assertDefined<T>(value: T | undefined, message: string): T {
  if (value === undefined) throw new Error(message);
  return value;
}

function zip<A, B>(these: readonly A[], those: readonly B[]): [A, B][] {
  return these.map((each, index) => [each, assertDefined(those[index], 'the lists differ in length')]);
}
