import { fakeNode } from '../lab/aws/fake-node';
import { countAwsCalls, openAwsFleet, subnetIds, type AwsCalls } from './aws-fleet';

export interface Sweep {
  readonly nodes: number;
  readonly proven: number;
  readonly seconds: number;
  readonly calls: AwsCalls;
}

const nodes = 10_000;

/** Measures a sweep of 10,000 nodes that are already proven. */
export async function measureSweep(): Promise<Sweep> {
  const { aws, stack, cluster, close } = await openAwsFleet();
  try {
    const [subnetId = ''] = subnetIds;
    const first = aws.addNode({ subnetId, cluster, machine: fakeNode });
    await stack.invoke('sweep', {});
    // Copies the first node's tags to all other nodes to mark them as proven.
    const tags = Object.fromEntries(aws.state.instances.get(first)?.tags ?? []);
    for (let made = 1; made < nodes; made += 1) {
      aws.addNode({ subnetId: subnetIds[made % subnetIds.length] ?? '', tags, machine: fakeNode });
    }
    for (const instance of aws.state.instances.values()) instance.launchTime = new Date(0);
    aws.calls.length = 0;
    const startedAt = performance.now();
    const { response } = await stack.invoke('sweep', {});
    const seconds = (performance.now() - startedAt) / 1_000;
    const { counts } = response as { counts: Readonly<Record<string, number>> };
    return { nodes, proven: counts['proven'] ?? 0, seconds, calls: countAwsCalls(aws) };
  } finally {
    await close();
  }
}
