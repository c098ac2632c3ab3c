import { setTimeout as sleep } from 'node:timers/promises';
import { fakeNode } from '../lab/aws/fake-node';
import { countAwsCalls, openAwsFleet, subnetIds, type AwsCalls, type AwsFleet } from './aws-fleet';

export interface Storm {
  readonly name: string;
  readonly nodes: number;
  readonly proven: number;
  readonly deadLetters: number;
  /** Seconds from the first event to the last proof. */
  readonly seconds: number;
  readonly calls: AwsCalls;
}

const nodes = 1_000;
/** The number of instances that an Auto Scaling group launches in one RunInstances call. */
const perLaunch = 20;
/** All nodes join within this time, in milliseconds. */
const joinWithin = 10_000;

/**
 * Measures an event storm: 1,000 nodes join within 10 s and cause one RunInstances event per 20 nodes and one `running`
 * event per node. Each command takes 0.3 to 1.3 s. The scheduled sweep runs after all nodes have joined.
 * @param registersWithin an SSM agent registers after a random delay of up to this many milliseconds
 */
export async function measureStorm(name: string, registersWithin: number): Promise<Storm> {
  const fleet = await openAwsFleet();
  try {
    const startedAt = Date.now();
    await Promise.all(Array.from({ length: nodes / perLaunch }, () => launch(fleet, registersWithin)));
    await fleet.stack.invoke('sweep', { skipNewNodes: true });
    const isProven = ({ tags }: { tags: ReadonlyMap<string, string> }) =>
      tags.get('peermasq:status')?.startsWith('proven') === true;
    const proven = () => [...fleet.aws.state.instances.values()].filter(isProven).length;
    const until = startedAt + 300_000;
    while (proven() < nodes && fleet.stack.deadLetters.length === 0 && Date.now() < until) await sleep(100);
    const seconds = (Date.now() - startedAt) / 1_000;
    // Waits for the API calls that follow the last proof, such as calls for command events and redelivered messages.
    await fleet.stack.idle();
    const deadLetters = fleet.stack.deadLetters.length;
    return { name, nodes, proven: proven(), deadLetters, seconds, calls: countAwsCalls(fleet.aws) };
  } finally {
    await fleet.close();
  }
}

async function launch({ aws, stack, cluster }: AwsFleet, registersWithin: number): Promise<void> {
  await sleep(Math.random() * joinWithin);
  const ids = Array.from({ length: perLaunch }, (_, index) =>
    aws.addNode({
      subnetId: subnetIds[index % subnetIds.length] ?? '',
      cluster,
      machine: fakeNode,
      registersAfterMs: Math.random() * registersWithin,
      commandDelayMs: 300 + Math.random() * 1_000,
    }),
  );
  stack.put(aws.runInstancesEvent(ids));
  for (const id of ids) stack.put(aws.stateChangeEvent(id));
}
