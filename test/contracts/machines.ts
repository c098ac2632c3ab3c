import type { Machine } from '../lab/machine';
import { openLab, type Host } from '../lab/netns';
import { connectToTestProcess, killProcesses, nodeMachineOn } from '../lab/node-machine';

/** Nodes whose only network is a link to this process, on which the local clouds listen. */
export function openMachines() {
  const lab = openLab();
  const hosts: Host[] = [];

  async function add(): Promise<{ machine: Machine; addressOfThisProcess: string }> {
    const host = await lab.machine(`node${hosts.length + 1}`);
    hosts.push(host);
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

/** The rule set that the node program has stored on a node. */
export async function storedRuleSet(machine: Machine | undefined): Promise<string | undefined> {
  const finished = await machine?.run(['sh', '-c', 'cat "$PEERMASQ_DIR/ruleset"']);
  return finished?.status === 0 ? finished.stdout : undefined;
}
