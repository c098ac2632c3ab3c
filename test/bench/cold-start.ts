import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { build, type BuildOptions } from 'esbuild';
import { awsBundle, gcpBundle } from '../../infra/bundle/options';
import { labAccount, labRegion, startLocalAws } from '../lab/aws/cloud';
import { sqsEvent } from '../lab/aws/sqs-records';
import { insertEvent } from '../lab/gcp/events';
import { startLocalGcp } from '../lab/gcp/cloud';
import { addVm } from '../lab/gcp/state';
import { spread, type Spread } from './spread';
import { nodeProgramFile } from '../lab/node-program';

/**
 * The measurements of a cold start: the time to import the bundle and make the first call, in milliseconds; resident
 * memory, in megabytes; and the size of the code, in kilobytes.
 */
export interface ColdStart {
  readonly ms: Spread;
  readonly rssMb: Spread;
  readonly kb: number;
}

export interface ColdStarts {
  readonly name: string;
  readonly rounds: number;
  /** The figures for a bundle that esbuild builds without plugins. */
  readonly plain: ColdStart;
  /** The figures for the bundle that is deployed. */
  readonly pruned: ColdStart;
  /** The median time of the plain bundle divided by that of the pruned bundle. */
  readonly ratio: number;
}

interface Subject {
  readonly name: string;
  readonly options: BuildOptions;
  readonly bundle: string;
  readonly env: Readonly<Record<string, string>>;
  readonly event: unknown;
  /** The context that Lambda passes to the handler. It is empty for Cloud Functions, which passes no context. */
  readonly context: object;
  readonly close: () => Promise<void>;
}

const plain = { plugins: [], minifyWhitespace: false, minifySyntax: false } satisfies BuildOptions;
/** The folder for the bundles. It is inside the repository, so that Node.js finds external modules. */
const folder = '.cache/cold-start';

/** Measures plain and pruned bundles alternately. Each start runs in a new process and uses the local clouds. */
export async function measureColdStarts(rounds: number): Promise<ColdStarts[]> {
  const results: ColdStarts[] = [];
  for (const open of [openGcp, openAws]) {
    const subject = await open();
    try {
      results.push(await measure(subject, rounds));
    } finally {
      await subject.close();
      rmSync(folder, { recursive: true });
    }
  }
  return results;
}

async function measure(subject: Subject, rounds: number): Promise<ColdStarts> {
  const variants = {
    plain: await bundle(subject, 'plain', plain),
    pruned: await bundle(subject, 'pruned', {}),
  };
  const starts = { plain: [] as Start[], pruned: [] as Start[] };
  for (let round = 0; round < rounds; round++) {
    // The order alternates so that a change in the machine's speed affects both bundles equally.
    const order = round % 2 === 0 ? (['plain', 'pruned'] as const) : (['pruned', 'plain'] as const);
    for (const variant of order) starts[variant].push(await start(variants[variant], subject));
  }
  const [before, after] = (['plain', 'pruned'] as const).map((variant) => ({
    ms: spread(starts[variant].map(({ loadMs, callMs }) => loadMs + callMs)),
    rssMb: spread(starts[variant].map(({ rssMb }) => rssMb)),
    kb: Math.round(statSync(variants[variant]).size / 1_000),
  })) as [ColdStart, ColdStart];
  return {
    name: subject.name,
    rounds,
    plain: before,
    pruned: after,
    ratio: before.ms.median / after.ms.median,
  };
}

async function bundle({ options, bundle: name }: Subject, variant: string, changes: BuildOptions) {
  const outdir = join(folder, variant);
  await build({ ...options, ...changes, outdir });
  return join(outdir, name);
}

interface Start {
  readonly loadMs: number;
  readonly callMs: number;
  readonly rssMb: number;
}

async function start(file: string, { env, event, context }: Subject): Promise<Start> {
  const child = spawn(process.execPath, [join(__dirname, 'first-call.mjs'), file], {
    stdio: ['pipe', 'pipe', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
    timeout: 60_000,
  });
  child.stdin.end(JSON.stringify({ event, context }));
  const [timing, log, stderr] = await Promise.all([
    text(child.stdio[3] as Readable),
    text(child.stdout),
    text(child.stderr),
    once(child, 'close'),
  ]);
  if (child.exitCode !== 0) throw new Error(`${file} did not respond:\n${stderr}${log}`);
  return JSON.parse(timing) as Start;
}

function files(): Readonly<Record<string, string>> {
  mkdirSync(folder, { recursive: true });
  const config = join(folder, 'peermasq.yaml');
  writeFileSync(config, 'clusters: {frontend: {pods: [10.132.0.0/14], masquerade: [peerings]}}');
  return { PEERMASQ_CONFIG: config, PEERMASQ_PROGRAM: nodeProgramFile };
}

/** Prepares an insert event for a VM that belongs to no cluster, so the function only looks up the VM and skips it. */
async function openGcp(): Promise<Subject> {
  const google = await startLocalGcp();
  const vm = addVm(google.cloud, {});
  return {
    name: 'dist/gcp, nodeJoined: first instances.get',
    options: gcpBundle,
    bundle: 'index.js',
    // If no project is set, Google's client may run gcloud to find it, which takes seconds.
    env: { ...google.env, ...files(), GOOGLE_CLOUD_PROJECT: vm.project },
    event: insertEvent(vm, 'first'),
    context: {},
    close: () => google.close(),
  };
}

async function openAws(): Promise<Subject> {
  const aws = await startLocalAws();
  const [vpcId, subnetId] = ['vpc-0123456789abcdef0', 'subnet-0123456789abcdef0'];
  aws.addNetwork({ vpcId, cidrs: ['172.20.0.0/16'], subnetIds: [subnetId] });
  const id = aws.addNode({ subnetId });
  return {
    name: 'dist/aws, node-joined: first DescribeInstances',
    options: awsBundle,
    bundle: 'node-joined.js',
    env: { ...aws.env, ...files() },
    event: sqsEvent([aws.stateChangeEvent(id)]),
    context: {
      invokedFunctionArn: `arn:aws:lambda:${labRegion}:${labAccount}:function:peermasq-dev-node-joined`,
    },
    close: () => aws.close(),
  };
}
