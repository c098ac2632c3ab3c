import { setTimeout as delay } from 'node:timers/promises';
import { buildNetworks, type RequestResult, type Networks } from '../networks';
import { runDoctor, runPlan } from './cli-checks';
import type { DemoCloud, NodeResult, Race, Scenario } from './scenario';
import { diagram, type Screen } from './screen';
import { serializeOutput, type Write } from './ordered-output';

/** The result of a scenario. The scenario succeeded if there are no errors. */
export interface ScenarioResult {
  readonly scenario: Scenario;
  readonly before: RequestResult;
  /**
   * What the function reported after a late event, and whether the pod then reached the peer. Absent in other
   * scenarios.
   */
  readonly late?: { readonly reason: string; readonly reached: boolean };
  readonly nodeResult?: NodeResult;
  readonly after: RequestResult;
  readonly errors: readonly string[];
}

const metadataServer = '169.254.169.254';
const requestTimeoutMs = 1_500;
/** How long a hanging connection may take to recover. The kernel retransmits the SYN at increasing intervals. */
const recoversWithinMs = 20_000;

/**
 * Runs the scenarios concurrently and shows them one after another. If a scenario fails, the remaining scenarios still
 * run.
 * @param openScreen creates the screen for a scenario
 * @returns the results, in the order of the scenarios
 */
export async function runScenarios(
  scenarios: readonly Scenario[],
  write: Write,
  openScreen: (write: Write) => Screen,
): Promise<ScenarioResult[]> {
  const openSection = serializeOutput(write);
  return Promise.all(
    scenarios.map(async (scenario, index) => {
      const section = openSection();
      const screen = openScreen(section.write);
      screen.heading(`${index + 1}/${scenarios.length}  ${scenario.title}`, scenario.story);
      const result = await runScenario(scenario, screen);
      section.end();
      return result;
    }),
  );
}

/** Returns the document that `--json` prints. */
export function toDocument(results: readonly ScenarioResult[]) {
  return {
    scenarios: results.map(({ scenario, before, late, after, nodeResult }) => ({
      name: scenario.name,
      cloud: scenario.cloud,
      before: { reached: before.reached },
      ...(late && { late }),
      after: { reached: after.reached, body: after.body, sourceSeenByPeer: after.sourceSeenByPeer },
      eventToProvenMs: nodeResult?.eventToProvenMs ?? null,
      ruleset: nodeResult?.ruleset ?? null,
      rules: nodeResult?.rules ?? [],
      ...(nodeResult?.race && { race: nodeResult.race }),
    })),
  };
}

async function runScenario(scenario: Scenario, screen: Screen): Promise<ScenarioResult> {
  const result: MutableScenarioResult = {
    scenario,
    before: { reached: false },
    after: { reached: false },
    errors: [],
  };
  try {
    const networks = await buildNetworks(scenario.topology, { managementAddress: metadataServer });
    try {
      const cloud = await scenario.open(networks);
      try {
        await runSteps(networks, cloud, screen, result);
      } finally {
        await cloud.close();
      }
    } finally {
      await networks.close();
    }
  } catch (error) {
    result.errors.push(error instanceof Error ? error.message : String(error));
  }
  return result;
}

/** The result of a scenario that is still running. */
type MutableScenarioResult = { -readonly [Key in keyof ScenarioResult]: ScenarioResult[Key] } & {
  readonly errors: string[];
};

async function runSteps(
  networks: Networks,
  cloud: DemoCloud,
  screen: Screen,
  result: MutableScenarioResult,
): Promise<void> {
  screen.print('on node', networks.topology.node.rules.join('\n'));
  result.before = await networks.pod.request(requestTimeoutMs);
  await showBefore(networks, result.before, screen);
  if (result.before.reached) {
    result.errors.push('the pod reached the peer before anything was fixed');
    return;
  }

  if (cloud.sendLateEvent) {
    const reason = await cloud.sendLateEvent(screen.print);
    const { reached } = await networks.pod.request(requestTimeoutMs);
    result.late = { reason, reached };
    screen.bad('too late', reason);
    if (reached) result.errors.push('the pod reached the peer even though the race was lost');
    else screen.bad('', 'the pod still does not reach the peer');
  }
  if (cloud.isExistingNode) {
    const broken = await runDoctor(networks, cloud, screen);
    if (broken !== 'masquerading')
      result.errors.push(`doctor reports ${broken ?? 'nothing'} as broken, not masquerading`);
    if (!(await runPlan(cloud, screen)))
      result.errors.push('plan shows no change, even though the node has no rules');
  }
  // Restarting a node also ends its pods, so a hanging request would not survive the restart.
  const hanging = cloud.sendLateEvent ? undefined : networks.pod.request(120_000);
  result.nodeResult = await cloud.sendEvent(screen.print);
  showNodeResult(
    result.nodeResult,
    result.late || cloud.isExistingNode ? 'the backfill began' : 'the event',
    screen,
  );

  result.after = await networks.pod.request();
  result.errors.push(...showAfter(networks, result.after, screen));
  if (!result.after.reached) return;
  const [recovered, isUnchanged] = await Promise.all([
    hanging && withTimeout(recoversWithinMs, hanging),
    isIdempotent(networks, cloud),
  ]);
  if (recovered)
    screen.print('', `the hanging request ${recovered.reached ? 'is answered too' : 'still hangs'}`);
  if (isUnchanged) screen.print('repeat', 'running it again changes nothing: iptables-save is identical');
  else result.errors.push('running it again changed the output of iptables-save');
  const broken = await runDoctor(networks, cloud, screen);
  if (broken !== null) result.errors.push(`doctor still reports ${broken} as broken`);
  if (await runPlan(cloud, screen)) result.errors.push('plan still shows a change');
}

/** Sends the event again. Returns whether the rules are unchanged. */
async function isIdempotent(networks: Networks, cloud: DemoCloud): Promise<boolean> {
  const rules = await savedRules(networks);
  await cloud.sendEvent(() => undefined);
  return rules === (await savedRules(networks));
}

async function showBefore(networks: Networks, before: RequestResult, screen: Screen): Promise<void> {
  const { topology, node, router } = networks;
  const { address, port } = topology.peer;
  const { pod } = topology.node.pods;
  const { sources } = await router(topology.node.network).dropped();
  const { reached } = await node.request();
  screen.draw('before', diagram(topology, before, screen.colours));
  if (before.reached) return;
  screen.bad(
    '',
    `${address}:${port}: ${before.reason}; the router dropped ${count(sources[pod] ?? 0, 'packet')} from ${pod}`,
  );
  screen.print('', `(from the node itself: ${reached ? 'reached' : 'not reached'})`);
}

/** Shows the request after the fix. Returns the errors in its result. */
function showAfter({ topology }: Networks, after: RequestResult, screen: Screen): string[] {
  const { node, peer } = topology;
  const { reached, body = '', sourceSeenByPeer = 'no request', reason } = after;
  screen.draw('after', diagram(topology, after, screen.colours));
  if (!reached) return [`the pod still does not reach ${peer.address}:${peer.port}: ${reason}`];
  screen.good('', body);
  screen.good('', `the peer saw ${sourceSeenByPeer}`);
  if (sourceSeenByPeer === node.address) return [];
  return [`the peer saw ${sourceSeenByPeer} and not the node's address ${node.address}`];
}

function showNodeResult(nodeResult: NodeResult, since: string, screen: Screen): void {
  const { eventToProvenMs, discovery, ruleset, rules, proof, race } = nodeResult;
  if (race) showRace(race, screen);
  screen.print('looked up', discovery.join('\n'));
  screen.print('rule set', ruleset);
  screen.print('rules', rules.join('\n'));
  if (!proof) return;
  const { result, proven, backend, flushed, probes, warnings } = proof;
  screen.print(
    'proof',
    [
      `${result}, ${proven ? 'proven' : 'not proven'} ${eventToProvenMs} ms after ${since}: ${count(proof.rules, 'rule')} in ${backend}, ${count(flushed, 'stale connection')} flushed`,
      ...probes.map(
        ({ to, from, reached }) => `probe ${from} → ${to}: ${reached ? 'reached' : 'not reached'}`,
      ),
      ...warnings.map((warning) => `warning: ${warning}`),
    ].join('\n'),
  );
}

function showRace({ metadataSetMs, scriptRanMs }: Race, screen: Screen): void {
  const [set, ran] = [metadataSetMs, scriptRanMs].map((ms) => `${(ms / 1_000).toFixed(1)} s`);
  const isWon = metadataSetMs < scriptRanMs;
  const verdict = `the boot race is ${isWon ? 'won' : 'lost'}: metadata set ${set} after the first entry of the insert, startup script run ${ran} after it`;
  if (isWon) screen.good('race', verdict);
  else screen.bad('race', verdict);
}

const count = (n: number, what: string): string => `${n} ${what}${n === 1 ? '' : 's'}`;

async function withTimeout(ms: number, request: Promise<RequestResult>): Promise<RequestResult> {
  const late = new AbortController();
  const timeout = delay(ms, { reached: false, reason: `no answer in ${ms} ms` }, { signal: late.signal });
  try {
    return await Promise.race([request, timeout]);
  } finally {
    late.abort();
  }
}

/** Returns the output of iptables-save without timestamps and counters. */
async function savedRules({ node }: Networks): Promise<string> {
  const { status, stdout, stderr } = await node.run(['iptables-save']);
  if (status !== 0) throw new Error(`iptables-save exited with ${status}: ${stderr}`);
  return stdout.replaceAll(/^#.*\n/gm, '').replaceAll(/ \[\d+:\d+\]$/gm, '');
}
