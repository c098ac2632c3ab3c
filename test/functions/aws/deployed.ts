import { afterEach, beforeEach } from '@jest/globals';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeDocument } from '../../../infra/aws/document';
import { documentName } from '../../../shared/aws/names';
import { definedOnly } from '../../../shared/core/util/collections';
import type { LabAccount, NewNode } from '../../lab/aws/account';
import { startLocalAws, type LocalAws } from '../../lab/aws/cloud';
import { readDeployment } from '../../lab/aws/deployment';
import { startStack, type LabStack } from '../../lab/aws/stack';
import type { LabRoute } from '../../lab/aws/state';
import type { Machine } from '../../lab/machine';
import { fakeNode } from '../../lab/aws/fake-node';

/**
 * The local AWS of the current test. Every test in a file that imports this module gets a new one, and it is closed
 * together with the stack after the test.
 */
export let aws: LocalAws;
export let stack: LabStack;
let folder: string;

beforeEach(async () => {
  aws = await startLocalAws();
  folder = mkdtempSync(join(tmpdir(), 'peermasq-test-'));
  prepare(aws);
});

afterEach(async () => {
  await stack.close();
  await aws.close();
  rmSync(folder, { recursive: true });
});

export const vpcId = 'vpc-0123456789abcdef0';
export const subnetId = 'subnet-0123456789abcdef0';
export const peering = 'pcx-0123456789abcdef0';

export const routeTo = (destinationCidrBlock: string): LabRoute => ({
  destinationCidrBlock,
  vpcPeeringConnectionId: peering,
});

/** Adds a network with a peering, and the SSM document, to an account. */
export function prepare(account: LabAccount): void {
  account.putDocument(documentName('dev'), makeDocument('echo hello\n'));
  account.addNetwork({
    vpcId,
    cidrs: ['172.20.0.0/16'],
    subnetIds: [subnetId],
    routes: [routeTo('10.0.0.0/16')],
  });
  account.state.peerings.push({ vpcPeeringConnectionId: peering, status: 'active' });
}

interface DeployOptions {
  readonly config?: string;
  /** Parameters, as passed with `--param`. */
  readonly params?: Readonly<Record<string, string>>;
  readonly env?: Readonly<Record<string, string>>;
  /** Overrides the timeout of node-joined in serverless.yml. */
  readonly timeoutSeconds?: number;
  /** Overrides the delay of completion events in infra/aws. */
  readonly resultsAfterSeconds?: number;
}

const onePeering = 'clusters: {shop: {pods: [10.244.0.0/16], masquerade: [peerings]}}';

/**
 * Deploys serverless.yml. Time in the queues is scaled: a second takes 20 ms, and batch windows are at most 10 s. The
 * functions run in real time. By default, completion events arrive only after node-joined has returned.
 */
export function deploy(options: DeployOptions = {}): void {
  const { config = onePeering, params = {}, env = {}, timeoutSeconds, resultsAfterSeconds = 150 } = options;
  const file = join(folder, 'peermasq.yaml');
  writeFileSync(file, config);
  const { functions, queues, sources, ...rest } = readDeployment({ params, clusters: ['shop'] });
  const deployment = {
    ...rest,
    functions: functions.map((one) =>
      one.name === 'node-joined' && timeoutSeconds !== undefined ? { ...one, timeoutSeconds } : one,
    ),
    queues: queues.map((one) =>
      one.name === 'commands' ? { ...one, delaySeconds: resultsAfterSeconds } : one,
    ),
    sources: sources.map((one) => ({ ...one, windowSeconds: Math.min(10, one.windowSeconds) })),
  };
  stack = startStack(aws, deployment, { config: file, env, secondMs: 20 });
}

/** Returns the environment variable for an objective in milliseconds, which is short enough to pass during a test. */
export const objective = (ms: number) => ({ PEERMASQ_OBJECTIVE_MINUTES: String(ms / 60_000) });

export type NodeChanges = { readonly [Field in keyof NewNode]?: NewNode[Field] | undefined };

export const addNode = (changes: NodeChanges = {}, account: LabAccount = aws): string =>
  account.addNode({ subnetId, ...definedOnly({ cluster: 'shop', machine: fakeNode, ...changes }) });

/** Returns a machine on which the first `times` attempts to prove the rules fail. */
export function failsFirst(times: number): Machine {
  let left = times;
  return {
    run: async (argv, options) => {
      const finished = await fakeNode.run(argv, options);
      if (left-- <= 0) return finished;
      return { ...finished, stdout: finished.stdout.replace('"proven":true', '"proven":false') };
    },
  };
}

/** Returns the event that CloudTrail emits for an API call. */
export const apiCall = (eventName: string) => ({
  ...aws.runInstancesEvent([]),
  detail: { eventSource: 'ec2.amazonaws.com', eventName },
});

/** Resolves when the queues for nodes and for route changes are empty. */
export async function drained(): Promise<void> {
  const { signal } = new AbortController();
  for (const name of ['nodes', 'routes']) await stack.queue(name).waitUntilAtMost(0, signal);
}

/** Polls a condition until it is true, because the functions emit no event when they are done. */
export async function until(condition: () => boolean): Promise<void> {
  const endsAt = Date.now() + 15_000;
  while (!condition()) {
    if (Date.now() > endsAt) throw new Error(`Timed out waiting for ${condition.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

export const logged = (message: string) => stack.log.filter((entry) => entry['message'] === message);
export const nodesLogged = (message: string) => logged(message).map((entry) => entry['node']);

export const statusOf = (id: string, { state }: LabAccount = aws) =>
  state.instances.get(id)?.tags.get('peermasq:status');

/** Returns why each message in the dead-letter queue was sent there. */
export const deadLetterReasons = () =>
  stack.deadLetters.map(({ attributes }) => attributes['reason']?.StringValue ?? '');

/** Returns the log entries that are in the embedded metric format. */
export const metricEntries = () => stack.log.filter((entry) => '_aws' in entry);

/** Returns the values of a metric from entries with the given dimensions. */
export function metric(name: string, dimensions: Readonly<Record<string, string>> = {}): number[] {
  return metricEntries()
    .filter((entry) => name in entry)
    .filter((entry) => Object.entries(dimensions).every(([key, value]) => entry[key] === value))
    .flatMap((entry) => entry[name] as number | number[]);
}
