import { expect } from '@jest/globals';
import type { Report } from '../../../shared/core/model/report';
import { definedOnly } from '../../../shared/core/util/collections';
import type { Host } from '../../lab/netns';
import { type Backend, ruleset, sh } from '../network';
import { functionsReport, type ProgramRunner, programRunnerOn } from '../program-runner';
import type { Environment } from './environment';
import { difference, kernelState, withoutOurs } from './foreign-state';
import { buildMachines, type Machines } from './machines';
import { restartScript } from './scripts';
import { expectedTraffic, observeTraffic, type Traffic } from './traffic';

/** What happened in an environment, in chronological order. */
export interface Outcome {
  readonly before: Traffic;
  readonly apply: Report;
  readonly after: Traffic;
  /** Changes that `apply` made to the state of other programs. */
  readonly changed: readonly string[];
  /** Our rules that assigned source ports sequentially even though the network plugin's rule randomises them. */
  readonly weakened: readonly string[];
  /** The traffic to the peer after the network's agents were restarted, and before anything was repaired. */
  readonly restarted: Traffic;
  readonly repair?: Report;
  /** What `remove` left behind. */
  readonly left: readonly string[];
}

/** A `short` run skips `repair`, unless the pods started after `apply`. */
export type RunLength = 'short' | 'long';

export interface RunRequest {
  readonly backend: Backend;
  readonly length: RunLength;
  /** The path of a node program that replaces the one in the repository. */
  readonly program?: string;
}

/** Applies the rule set, restarts the network's agents, and removes peermasq again. */
export async function runEnvironment(environment: Environment, request: RunRequest): Promise<Outcome> {
  const flavour = request.backend === 'iptables-legacy' ? request.backend : 'iptables-nft';
  const machines = await buildMachines(environment, flavour);
  try {
    return await runOn(machines, environment, { ...request, flavour });
  } finally {
    await machines.lab.close();
  }
}

async function runOn(
  machines: Machines,
  environment: Environment,
  { backend, flavour, length, program }: RunRequest & { flavour: string },
): Promise<Outcome> {
  const { node } = machines;
  const peermasq = programRunnerOn(node, backend, program);
  const before = await observeTraffic(environment, machines, 'before');
  let untouched = await kernelState(node);
  const apply = await verdict(peermasq, ['apply'], ruleSetText(environment));
  const changed = difference(untouched, withoutOurs(await kernelState(node)));
  if (environment.podsStartLate) {
    await machines.startPods();
    untouched = withoutOurs(await kernelState(node));
  }
  const after = await observeTraffic(environment, machines, 'after');
  const weakened = await sequentialRules(environment, { node, flavour });

  await sh(node, restartScript(environment, flavour));
  const restarted = await observeTraffic(environment, machines, 'restarted');
  const repair = isRepaired(environment, length) ? await verdict(peermasq, ['repair']) : undefined;
  await peermasq(['remove']);
  const left = difference(untouched, await kernelState(node));
  return { before, apply, after, changed, weakened, restarted, left, ...definedOnly({ repair }) };
}

const isRepaired = ({ podsStartLate }: Environment, length: RunLength) => length === 'long' || podsStartLate;

async function sequentialRules(
  { network, pods }: Environment,
  { node, flavour }: { node: Host; flavour: string },
): Promise<string[]> {
  const isMasqueraded = pods.some(
    ({ address, peer: { before } }) => before !== 'dropped' && before !== address,
  );
  const rules = [...network.setUp, network.rules.replace(/^-A KUBE-.*$/gm, '')].join('\n');
  if (!isMasqueraded || !/-j (SNAT|MASQUERADE).* --random|masquerade fully-random/.test(rules)) return [];
  const saved = await node.run([`${flavour}-save`, '-c', '-t', 'nat']);
  return saved
    .split('\n')
    .filter(
      (line) => /^\[[1-9]\d*:\d+\] -A PEERMASQ .*-j MASQUERADE/.test(line) && !line.includes(' --random'),
    );
}

async function verdict(peermasq: ProgramRunner, args: readonly string[], stdin = ''): Promise<Report> {
  return functionsReport(await peermasq(args, { stdin }));
}

const ruleSetText = ({ ruleSet }: Environment): string => {
  const text = ruleset(1, ...ruleSet);
  return ruleSet.includes('option steer') ? text.replace('peermasq/1', 'peermasq/2') : text;
};

/** Returns the expected part of the outcome, for `toMatchObject`. */
export function expectedOutcome(environment: Environment, { backend, length }: RunRequest) {
  const { proven, code, basis } = environment.expected;
  const expected = definedOnly({
    proven,
    code,
    basis: basis && backend !== 'nft' ? (expect.arrayContaining([...basis]) as unknown) : undefined,
  });
  return {
    before: expectedTraffic(environment, 'before'),
    apply: { result: 'applied', ...definedOnly(environment.podsStartLate ? {} : expected) },
    after: expectedTraffic(environment, 'after'),
    changed: [],
    weakened: [],
    restarted: expectedTraffic(environment, 'restarted'),
    left: [],
    ...definedOnly({ repair: isRepaired(environment, length) ? expected : undefined }),
  };
}
