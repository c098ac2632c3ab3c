import { quickEchoServerCommand, type Host, type Lab, openLab } from '../../lab/netns';
import { sh } from '../network';
import { type Environment, gatewayOf, port } from './environment';
import { nodeScript, peerScript, podScript, portOf, vpcScript } from './scripts';

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
  const [node, vpc, peer] = await Promise.all([
    lab.machine('node', { isNode: true }),
    lab.machine('vpc'),
    lab.machine('peer'),
  ]);
  const hosts = new Map([
    ['node', node],
    ['peer', peer],
  ]);
  await Promise.all(pods.map(async ({ name }) => hosts.set(name, await lab.machine(name, { podOf: node }))));
  const host = (name: string) => {
    const found = hosts.get(name);
    if (!found) throw new Error(`${environment.name} has no machine ${name}`);
    return found;
  };
  const servers = ['peer', ...pods.slice(1, 2).map(({ name }) => name)];
  const services = servers.map((name) => host(name).spawn(quickEchoServerCommand(port)));
  await lab.addVethPairs([
    ...uplinks.map(
      ({ device, address, subnet }, i) =>
        [
          { machine: node, device, addresses: address === undefined ? [] : [address + lengthOf(subnet)] },
          { machine: vpc, device: portOf(i), addresses: [`${gatewayOf(subnet)}/32`] },
        ] as const,
    ),
    ...pods.map(
      ({ name, address, device }) =>
        [
          { machine: node, device },
          { machine: host(name), device: 'eth0', addresses: [address + lengthOf(bridge?.address ?? '/32')] },
        ] as const,
    ),
    [
      { machine: vpc, device: 'peer', addresses: ['192.0.2.0/31'] },
      { machine: peer, device: 'eth0', addresses: ['192.0.2.1/31'] },
    ],
  ]);
  if (bridge) {
    const ports = pods.map(({ device }) => device);
    await lab.bridge({ machine: node, device: bridge.device, addresses: [bridge.address] }, ports);
  }
  await Promise.all([
    sh(node, nodeScript(environment, flavour)),
    sh(vpc, vpcScript(uplinks)),
    sh(peer, peerScript(environment)),
    ...pods.map((pod) => sh(host(pod.name), podScript(pod, environment))),
    ...services.map((service) => service.output(/listening/)),
  ]);
  return { lab, node, host };
}

/** The `/24` of `10.0.0.0/24`. */
const lengthOf = (cidr: string) => cidr.slice(cidr.indexOf('/'));
