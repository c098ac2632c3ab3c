import type { Machine } from '../lab/machine';
import { openLab, type Host } from '../lab/netns';
import { connectToTestProcess, killProcesses, nodeMachineOn } from '../lab/node-machine';

/** Gives a machine a default route. Without one, pods' packets have no path, and the rules are not proven. */
const uplink = `ip link add eth0 type veth peer name router
ip addr add 10.209.0.2/24 dev eth0
ip link set eth0 up
ip link set router up
ip route add default via 10.209.0.1
echo 1 >/proc/sys/net/ipv4/ip_forward`;

/** Opens machines that reach only one network: a link to this process, on which the local clouds listen. */
export function openMachines() {
  const lab = openLab();
  const hosts: Host[] = [];

  async function add(): Promise<{ machine: Machine; addressOfThisProcess: string }> {
    const host = await lab.machine(`node${hosts.length + 1}`);
    hosts.push(host);
    await host.run(['sh', '-ec', uplink]);
    return { machine: nodeMachineOn(host), addressOfThisProcess: await connectToTestProcess(host) };
  }

  return {
    add,
    close: async () => {
      await Promise.all(hosts.map(killProcesses));
      await lab.close();
    },
  };
}

/** Returns the rule set that the node program stored on the machine. */
export async function storedRuleSet(machine: Machine | undefined): Promise<string | undefined> {
  const finished = await machine?.run(['sh', '-c', 'cat "$PEERMASQ_DIR/ruleset"']);
  return finished?.status === 0 ? finished.stdout : undefined;
}
