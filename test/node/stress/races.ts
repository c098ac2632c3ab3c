import { setTimeout as delay } from 'node:timers/promises';
import { ruleSets, withGeneration } from './rule-sets';
import { describeRules, none, ruleSetOf, type Stress } from './stress';

export interface RaceCounts {
  applied: number;
  /** Rule sets that came after a newer one. */
  refused: number;
  repaired: number;
}

const appliesPerRace = 3;

/** Runs several applies and a repair at once. Afterwards, the newest rule set must be in force. */
export async function race(stress: Stress, races: number): Promise<RaceCounts> {
  const counts: RaceCounts = { applied: 0, refused: 0, repaired: 0 };
  for (let i = 1; i <= races; i++) await raceOnce(stress, counts, `race ${i}`);
  return counts;
}

async function raceOnce(stress: Stress, counts: RaceCounts, when: string): Promise<void> {
  const { node, random, errors, expected } = stress;
  const chosen = Array.from({ length: appliesPerRace }, () => ({
    ruleSet: random.pick(ruleSets),
    generation: stress.nextGeneration(),
    startMs: random.integerBelow(200),
  }));
  const newest = chosen[appliesPerRace - 1];
  stress.writers.resume();
  const applies = chosen.map(async ({ ruleSet, generation, startMs }) => {
    await delay(startMs);
    const { code, stdout } = await node.execute(['apply'], { stdin: withGeneration(ruleSet, generation) });
    if (code === 0) counts.applied += 1;
    else if (code === 2 && generation !== newest?.generation) counts.refused += 1;
    else errors.push(`${when}: apply exited with ${code ?? 'a signal'}: ${stdout}`);
  });
  const repair = async () => {
    const { code, stdout } = await node.execute(['repair']);
    if (code === 0) counts.repaired += 1;
    else errors.push(`${when}: repair exited with ${code ?? 'a signal'}: ${stdout}`);
  };
  await Promise.all([...applies, repair()]);
  const ours = await stress.check(when);
  if (ruleSetOf(node.stored()) !== newest?.ruleSet) errors.push(`${when}: the newest rule set is not stored`);
  const wanted = newest === undefined ? none : (expected.get(newest.ruleSet) ?? none);
  for (const family of ['v4', 'v6'] as const)
    if (ours[family] !== wanted[family])
      errors.push(
        `${when}: ${family} has ${describeRules(stress, ours[family], family)} instead of the newest rule set`,
      );
}
