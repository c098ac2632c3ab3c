import { setTimeout as delay } from 'node:timers/promises';
import { buildNetworks, type Answer, type Networks } from '../networks';
import { askDoctor, askPlan } from './questions';
import type { LocalCloud, Pass, Race, Scenario } from './scenario';
import { diagram, type Screen } from './screen';
import { takeTurns, type Write } from './turns';

/** How a scenario went; it went well when there are no faults. */
export interface Replay {
  readonly scenario: Scenario;
  readonly before: Answer;
  /** What was said of the node when the event came too late, and whether the pod reached the peer then. */
  readonly late?: { readonly words: string; readonly reached: boolean };
  readonly pass?: Pass;
  readonly after: Answer;
  readonly faults: readonly string[];
}

const metadataServer = '169.254.169.254';
const hangsAfterMs = 1_500;
/** The kernel sends the SYN of a hanging connect again after a while that grows with how long it hangs. */
const healsWithinMs = 20_000;

/**
 * Plays the scenarios at the same time, and shows them one after the other; a fault in one does not stop the
 * others.
 * @param openScreen makes the screen of one scenario
 * @returns in the order of the scenarios
 */
export async function replayAll(
  scenarios: readonly Scenario[],
  write: Write,
  openScreen: (write: Write) => Screen,
): Promise<Replay[]> {
  const takeTurn = takeTurns(write);
  return Promise.all(
    scenarios.map(async (scenario, index) => {
      const turn = takeTurn();
      const screen = openScreen(turn.write);
      screen.heading(`${index + 1}/${scenarios.length}  ${scenario.title}`, scenario.story);
      const result = await replay(scenario, screen);
      turn.end();
      return result;
    }),
  );
}

/** What `--json` prints. */
export function toDocument(replays: readonly Replay[]) {
  return {
    scenarios: replays.map(({ scenario, before, late, after, pass }) => ({
      name: scenario.name,
      cloud: scenario.cloud,
      before: { reached: before.reached },
      ...(late && { late }),
      after: { reached: after.reached, body: after.body, sourceSeenByPeer: after.sourceSeenByPeer },
      eventToProvenMs: pass?.eventToProvenMs ?? null,
      ruleset: pass?.ruleset ?? null,
      rules: pass?.rules ?? [],
      ...(pass?.race && { race: pass.race }),
    })),
  };
}

async function replay(scenario: Scenario, screen: Screen): Promise<Replay> {
  const result: Draft = { scenario, before: { reached: false }, after: { reached: false }, faults: [] };
  try {
    const networks = await buildNetworks(scenario.topology, { managementAddress: metadataServer });
    try {
      const cloud = await scenario.open(networks);
      try {
        await play(networks, cloud, screen, result);
      } finally {
        await cloud.close();
      }
    } finally {
      await networks.close();
    }
  } catch (error) {
    result.faults.push(error instanceof Error ? error.message : String(error));
  }
  return result;
}

/** A replay as it goes on. */
type Draft = { -readonly [Key in keyof Replay]: Replay[Key] } & { readonly faults: string[] };

async function play(networks: Networks, cloud: LocalCloud, screen: Screen, result: Draft): Promise<void> {
  screen.say('on node', networks.topology.node.rules.join('\n'));
  result.before = await networks.pod.request(hangsAfterMs);
  await showBefore(networks, result.before, screen);
  if (result.before.reached) {
    result.faults.push('the pod reached the peer before anything was done');
    return;
  }

  if (cloud.loseRace) {
    const words = await cloud.loseRace(screen.say);
    const { reached } = await networks.pod.request(hangsAfterMs);
    result.late = { words, reached };
    screen.bad('too late', words);
    if (reached) result.faults.push('the pod reached the peer though the race was lost');
    else screen.bad('', 'the pod still does not reach the peer');
  }
  if (cloud.isOld) {
    const broken = await askDoctor(networks, cloud, screen);
    if (broken !== 'masquerading')
      result.faults.push(`doctor calls ${broken ?? 'nothing'} broken, not masquerading`);
    if (!(await askPlan(cloud, screen)))
      result.faults.push('plan shows no change, though the node has no rules');
  }
  // A pod that hangs goes down with its node: where that is restarted there is none to heal.
  const hanging = cloud.loseRace ? undefined : networks.pod.request(120_000);
  result.pass = await cloud.sendEvent(screen.say);
  showPass(result.pass, result.late || cloud.isOld ? 'the backfill began' : 'the event', screen);

  result.after = await networks.pod.request();
  result.faults.push(...showAfter(networks, result.after, screen));
  if (!result.after.reached) return;
  const [healed, isUnchanged] = await Promise.all([
    hanging && within(healsWithinMs, hanging),
    changesNothing(networks, cloud),
  ]);
  if (healed)
    screen.say('', `the request that hung meanwhile ${healed.reached ? 'is answered too' : 'still hangs'}`);
  if (isUnchanged) screen.say('again', 'the same once more changes nothing: iptables-save is identical');
  else result.faults.push('the same once more changed what iptables-save prints');
  const broken = await askDoctor(networks, cloud, screen);
  if (broken !== null) result.faults.push(`doctor still calls ${broken} broken`);
  if (await askPlan(cloud, screen)) result.faults.push('plan still shows a change');
}

/** Whether the rules are the same after the same was done once more. */
async function changesNothing(networks: Networks, cloud: LocalCloud): Promise<boolean> {
  const rules = await rulesInForce(networks);
  await cloud.sendEvent(() => undefined);
  return rules === (await rulesInForce(networks));
}

async function showBefore(networks: Networks, before: Answer, screen: Screen): Promise<void> {
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
  screen.say('', `(the node itself ${reached ? 'is answered' : 'hangs too'})`);
}

/** Returns what is wrong with the answer. */
function showAfter({ topology }: Networks, after: Answer, screen: Screen): string[] {
  const { node, peer } = topology;
  const { reached, body = '', sourceSeenByPeer = 'nobody', reason } = after;
  screen.draw('after', diagram(topology, after, screen.colours));
  if (!reached) return [`the pod still does not reach ${peer.address}:${peer.port}: ${reason}`];
  screen.good('', body);
  screen.good('', `the peer saw ${sourceSeenByPeer}`);
  if (sourceSeenByPeer === node.address) return [];
  return [`the peer saw ${sourceSeenByPeer} and not the node's address ${node.address}`];
}

function showPass(pass: Pass, since: string, screen: Screen): void {
  const { eventToProvenMs, lookedUp, ruleset, rules, proof, race } = pass;
  if (race) showRace(race, screen);
  screen.say('looked up', lookedUp.join('\n'));
  screen.say('rule set', ruleset);
  screen.say('rules', rules.join('\n'));
  if (!proof) return;
  const { result, proven, backend, flushed, probes, warnings } = proof;
  screen.say(
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

async function within(ms: number, request: Promise<Answer>): Promise<Answer> {
  const late = new AbortController();
  const timeout = delay(ms, { reached: false, reason: `no answer in ${ms} ms` }, { signal: late.signal });
  try {
    return await Promise.race([request, timeout]);
  } finally {
    late.abort();
  }
}

/** What iptables-save prints, without the time of day and the counters. */
async function rulesInForce({ node }: Networks): Promise<string> {
  const { status, stdout, stderr } = await node.run(['iptables-save']);
  if (status !== 0) throw new Error(`iptables-save ended with ${status}: ${stderr}`);
  return stdout.replaceAll(/^#.*\n/gm, '').replaceAll(/ \[\d+:\d+\]$/gm, '');
}
