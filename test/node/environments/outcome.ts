import { expect } from '@jest/globals';
import { definedOnly } from '../../../shared/core/util/collections';
import { type Backend, ruleset, sh } from '../network';
import { type ProgramRunner, programRunnerOn, reportLine } from '../program-runner';
import type { Environment } from './environment';
import { difference, kernelState, withoutOurs } from './foreign-state';
import { buildMachines, type Machines } from './machines';
import { restartScript } from './scripts';
import { expectedTraffic, observeTraffic, type Traffic } from './traffic';

/** What the node program reports, as far as environments have expectations. */
interface Verdict {
  readonly result: string;
  readonly proven: boolean;
  readonly code?: string;
  readonly basis?: readonly string[];
}

/** What happened in an environment, in order. */
export interface Outcome {
  readonly before: Traffic;
  readonly apply: Verdict;
  readonly after: Traffic;
  /** What apply changed of what other programs own. */
  readonly changed: readonly string[];
  /** After the network's agents were restarted. */
  readonly restarted: Traffic;
  readonly repair: Verdict;
  /** What remove left behind. */
  readonly left: readonly string[];
}

/** Applies the rule set, restarts the network's agents, and removes peermasq again. */
export async function runEnvironment(environment: Environment, backend: Backend): Promise<Outcome> {
  const flavour = backend === 'iptables-legacy' ? backend : 'iptables-nft';
  const machines = await buildMachines(environment, flavour);
  try {
    return await runOn(machines, environment, { backend, flavour });
  } finally {
    await machines.lab.close();
  }
}

async function runOn(
  machines: Machines,
  environment: Environment,
  { backend, flavour }: { backend: Backend; flavour: string },
): Promise<Outcome> {
  const { node } = machines;
  const peermasq = programRunnerOn(node, backend);
  const before = await observeTraffic(environment, machines, 'before');
  const untouched = await kernelState(node);
  const apply = await verdict(peermasq, ['apply'], ruleSetText(environment));
  const changed = difference(untouched, withoutOurs(await kernelState(node)));
  if (environment.podsStartLate) await machines.startPods();
  const after = await observeTraffic(environment, machines, 'after');

  await sh(node, restartScript(environment, flavour));
  const repair = await verdict(peermasq, ['repair']);
  const restarted = await observeTraffic(environment, machines, 'after');
  const restartedState = withoutOurs(await kernelState(node));
  await peermasq(['remove']);
  const left = difference(restartedState, await kernelState(node));
  return { before, apply, after, changed, restarted, repair, left };
}

async function verdict(peermasq: ProgramRunner, args: readonly string[], stdin = ''): Promise<Verdict> {
  return JSON.parse(reportLine(await peermasq(args, { stdin }))) as Verdict;
}

const ruleSetText = ({ ruleSet }: Environment): string => {
  const text = ruleset(1, ...ruleSet);
  return ruleSet.includes('option steer') ? text.replace('peermasq/1', 'peermasq/2') : text;
};

/** For `toMatchObject`. */
export function expectedOutcome(environment: Environment) {
  const { proven, code, basis } = environment.expected;
  const expected = definedOnly({
    proven,
    code,
    basis: basis && (expect.arrayContaining([...basis]) as unknown),
  });
  const after = expectedTraffic(environment, 'after');
  return {
    before: expectedTraffic(environment, 'before'),
    apply: { result: 'applied', ...(environment.podsStartLate ? {} : expected) },
    after,
    changed: [],
    restarted: after,
    repair: expected,
    left: [],
  };
}
