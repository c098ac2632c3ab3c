import { setTimeout as delay } from 'node:timers/promises';
import { type Families, readState } from './kernel-state';
import { ruleSets, type StressRuleSet, withGeneration } from './rule-sets';
import { describeRules, none, ruleSetOf, type Stress } from './stress';
import { variantBeside } from './stressed-node';

export interface KillCounts {
  /** How many runs of each command were killed. */
  readonly killed: Record<Command, number>;
  /** How many had ended before they could be killed. */
  ended: number;
  /** What was in the kernel after the kills. */
  readonly found: Record<'old' | 'new' | 'same' | 'one family new' | 'torn', number>;
}

type Command = 'apply' | 'repair' | 'remove';

/** A command that is about to be killed. */
interface Attempt {
  readonly command: Command;
  readonly stdin?: string;
  /** Our rules before and after the command, if it is not killed. */
  readonly old: Families;
  readonly new: Families;
  /** The rule sets that may be in force after the next repair. */
  readonly allowed: readonly (StressRuleSet | undefined)[];
}

const commands = ['apply', 'apply', 'apply', 'apply', 'apply', 'repair', 'repair', 'remove'] as const;

/** Kills the node program at random moments, and checks the kernel after each kill and after each repair. */
export async function killAtRandom(stress: Stress, kills: number): Promise<KillCounts> {
  const counts: KillCounts = {
    killed: { apply: 0, repair: 0, remove: 0 },
    ended: 0,
    found: { old: 0, new: 0, same: 0, 'one family new': 0, torn: 0 },
  };
  const done = () => Object.values(counts.killed).reduce((sum, count) => sum + count, 0);
  while (done() < kills) {
    const attempt = await prepare(stress);
    const when = `kill ${done() + 1} (${attempt.command})`;
    stress.writers.resume();
    if (await isKilled(stress, attempt)) counts.killed[attempt.command] += 1;
    else counts.ended += 1;
    counts.found[checkFamilies(stress, attempt, { when, ours: await stress.check(when) })] += 1;
    stress.writers.resume();
    await recover(stress, attempt, when);
  }
  return counts;
}

async function prepare(stress: Stress): Promise<Attempt> {
  const { node, random, expected } = stress;
  const stored = ruleSetOf(node.stored());
  const before = stored === undefined ? none : (expected.get(stored) ?? none);
  const command = stored === undefined ? 'apply' : random.pick(commands);
  if (command === 'apply') {
    const next = random.pick(ruleSets);
    return {
      command,
      stdin: withGeneration(next, stress.nextGeneration()),
      old: before,
      new: expected.get(next) ?? none,
      allowed: [stored, next],
    };
  }
  if (command === 'remove') return { command, old: before, new: none, allowed: [stored, undefined] };
  await node.host.run(['sh', '-c', random.pick(driftsOf(stress))]);
  const { ours } = await readState(node);
  return { command, old: ours, new: before, allowed: [stored] };
}

/** Returns scripts that damage our rules. Each has no effect if the rule set has no such rules. */
function driftsOf({ node }: Stress): readonly string[] {
  if (node.backend === 'nft')
    return ['ip', 'ip6'].flatMap((family) => [
      `nft flush chain ${family} peermasq postrouting 2>/dev/null || :`,
      `nft delete table ${family} peermasq 2>/dev/null || :`,
    ]);
  const variant = variantBeside(node.backend);
  return [variant, variant.replace('ip', 'ip6')].flatMap((iptables) => [
    `${iptables} -w 5 -t nat -F PEERMASQ 2>/dev/null || :`,
    `${iptables} -w 5 -t nat -D POSTROUTING -m comment --comment peermasq -j PEERMASQ 2>/dev/null || :`,
  ]);
}

/** Starts the command and kills its process group at a random moment. Returns false if it had ended before. */
async function isKilled({ node, random, applyMs }: Stress, { command, stdin = '' }: Attempt) {
  const program = node.spawn([command], { stdin });
  const longest = command === 'apply' ? 0.9 * applyMs : 0.45 * applyMs;
  await Promise.race([program.ended, delay(random.next() * longest)]);
  try {
    process.kill(-program.pid, 'SIGKILL');
  } catch {
    // The process group has ended.
  }
  const { signal } = await program.ended;
  return signal === 'SIGKILL';
}

/** Adds an error unless each family has its old or its new rules, and they changed in the documented order. */
function checkFamilies(
  stress: Stress,
  attempt: Attempt,
  { when, ours }: { when: string; ours: Families },
): keyof KillCounts['found'] {
  const torn = (['v4', 'v6'] as const).filter(
    (family) => ![attempt.old[family], attempt.new[family]].includes(ours[family]),
  );
  for (const family of torn)
    stress.errors.push(
      `${when}: ${family} is torn: ${describeRules(stress, ours[family], family)}\nold: ${attempt.old[family]}\nnew: ${attempt.new[family]}`,
    );
  if (torn.length > 0) return 'torn';
  const isNew = (family: keyof Families) => ours[family] === attempt.new[family];
  const isOld = (family: keyof Families) => ours[family] === attempt.old[family];
  if (isOld('v4') && isOld('v6')) return isNew('v4') && isNew('v6') ? 'same' : 'old';
  if (isNew('v4') && isNew('v6')) return 'new';
  // With nft, both families change in one transaction. With iptables, IPv4 changes before IPv6.
  const isInOrder = stress.node.backend !== 'nft' && (isNew('v4') || attempt.command === 'remove');
  if (!isInOrder)
    stress.errors.push(`${when}: IPv4 is ${isNew('v4') ? 'new' : 'old'}, and IPv6 is not the same`);
  return 'one family new';
}

/** Runs the command that continues after a kill, and checks that everything is as stored. */
async function recover(stress: Stress, { command, allowed }: Attempt, when: string): Promise<void> {
  const { node, expected, errors } = stress;
  const next = command === 'remove' ? 'remove' : 'repair';
  const { code, stdout, stderr } = await node.execute([next]);
  if (code !== 0) errors.push(`${when}: the next ${next} fails: ${stdout}${stderr}`);
  const ours = await stress.check(`${when}, after ${next}`);
  const stored = ruleSetOf(node.stored());
  if (next === 'repair' && !allowed.includes(stored))
    errors.push(`${when}: ${stored?.name ?? 'no rule set'} is stored after ${next}`);
  const wanted = next === 'remove' || stored === undefined ? none : (expected.get(stored) ?? none);
  for (const family of ['v4', 'v6'] as const)
    if (ours[family] !== wanted[family])
      errors.push(
        `${when}: after ${next}, ${family} has ${describeRules(stress, ours[family], family)} instead of ${stored?.name ?? 'none'}`,
      );
}
