import { join } from 'node:path';
import { writeFileSync } from 'node:fs';
import { echoServerCommand, type CableEnd, type Host, type Lab, openLab } from '../../lab/netns';
import { sh } from '../network';
import { type Environment, gatewayOf, port, sidecarPort } from './environment';
import { nodePodsScript, nodeScript, peerScript, podScript, portOf, vpcScript } from './scripts';

/** The machines in an environment. */
export interface Machines {
  readonly lab: Lab;
  readonly node: Host;
  /**
   * Returns a machine by name: `node`, `peer` (which also has the internet address), or the name of a pod that was
   * started.
   */
  readonly host: (name: string) => Host;
  readonly startPods: () => Promise<void>;
}

/** Builds the machines and starts the pods, unless the pods start late. */
export async function buildMachines(environment: Environment, flavour: string): Promise<Machines> {
  const lab = openLab();
  try {
    const machines = await build(lab, environment, flavour);
    if (!environment.podsStartLate) await machines.startPods();
    return machines;
  } catch (error) {
    await lab.close();
    throw error;
  }
}

async function build(lab: Lab, environment: Environment, flavour: string): Promise<Machines> {
  const { bridge, uplinks } = environment;
  const [node, vpc, peer] = await Promise.all([
    lab.machine('node', { isNode: true }),
    lab.machine('vpc'),
    lab.machine('peer'),
  ]);
  await lab.addVethPairs([...uplinkCables(environment, node, vpc), peerCable(vpc, peer)]);
  if (bridge) await lab.bridge({ machine: node, device: bridge.device, addresses: [bridge.address] }, []);
  await Promise.all([
    sh(node, nodeScript(environment, flavour)),
    sh(vpc, vpcScript(uplinks)),
    sh(peer, peerScript(environment)),
    startService(peer, port),
  ]);
  for (const program of environment.missing ?? []) hide(node, program);

  const hosts = new Map([
    ['node', node],
    ['peer', peer],
  ]);
  const host = (name: string) => {
    const found = hosts.get(name);
    if (!found) throw new Error(`${environment.name} has no machine ${name}`);
    return found;
  };
  const startPods = async () => {
    const { pods } = environment;
    await Promise.all(
      pods.map(async ({ name }) => hosts.set(name, await lab.machine(name, { podOf: node }))),
    );
    await lab.addVethPairs(podCables(environment, host));
    await Promise.all([
      sh(node, nodePodsScript(environment, flavour)),
      ...pods.map((pod) => sh(host(pod.name), podScript(pod, environment))),
      ...pods.slice(1, 2).map(({ name }) => startService(host(name), port)),
      ...pods.flatMap(({ name, sidecar }) => (sidecar ? [startService(host(name), sidecarPort)] : [])),
    ]);
  };
  return { lab, node, host, startPods };
}

const uplinkCables = ({ uplinks }: Environment, node: Host, vpc: Host): [CableEnd, CableEnd][] =>
  uplinks.map(({ device, address, subnet, isPointToPoint }, i) => {
    const length = isPointToPoint ? '/32' : lengthOf(subnet);
    return [
      { machine: node, device, addresses: address === undefined ? [] : [address + length] },
      { machine: vpc, device: portOf(i), addresses: [`${gatewayOf(subnet)}/32`] },
    ];
  });

const peerCable = (vpc: Host, peer: Host): [CableEnd, CableEnd] => [
  { machine: vpc, device: 'peer', addresses: ['192.0.2.0/31'] },
  { machine: peer, device: 'eth0', addresses: ['192.0.2.1/31'] },
];

const podCables = ({ pods, bridge }: Environment, host: (name: string) => Host): [CableEnd, CableEnd][] =>
  pods.map(({ name, address, device }) => [
    { machine: host('node'), device },
    { machine: host(name), device: 'eth0', addresses: [address + lengthOf(bridge?.address ?? '/32')] },
  ]);

/** Returns the prefix length with its slash, such as `/24` for `10.0.0.0/24`. */
const lengthOf = (cidr: string) => cidr.slice(cidr.indexOf('/'));

async function startService(host: Host, onPort: number): Promise<void> {
  await host.spawn(echoServerCommand(onPort)).output(/listening/);
}

/** Hides a program by mounting an empty file over it. */
function hide(node: Host, program: string): void {
  const nothing = join(node.folder, 'nothing');
  writeFileSync(nothing, '', { mode: 0o644 });
  node.mount(nothing, program);
}
