import { SeededRandom } from '../../core/explain/kernel/random';
import { type Families, type KernelState, readState } from './kernel-state';
import { ruleSets, type StressRuleSet, withGeneration } from './rule-sets';
import { openStressedNode, type Backend, type StressedNode, variantBeside } from './stressed-node';
import { startWriters, type Writers } from './writers';

/** What a stress run needs: a node, other programs that write its tables, and what each rule set does there. */
export interface Stress {
  readonly node: StressedNode;
  readonly writers: Writers;
  readonly random: SeededRandom;
  /** Our rules in the kernel with each rule set in force, recorded while no other program wrote. */
  readonly expected: ReadonlyMap<StressRuleSet, Families>;
  /** How many milliseconds a complete apply took at most, when it was recorded. */
  readonly applyMs: number;
  readonly nextGeneration: () => number;
  /** Reads the kernel while no other program writes. Adds an error if rules of other programs changed. */
  readonly check: (when: string) => Promise<Families>;
  readonly errors: string[];
}

export const none: Families = { v4: '', v6: '' };

/** Opens a node for a stress run, which closes it. */
export async function openStress(backend: Backend, seed: number): Promise<Stress> {
  const node = await openStressedNode(backend);
  try {
    return await prepareNode(node, seed);
  } catch (error) {
    await node.close();
    throw error;
  }
}

async function prepareNode(node: StressedNode, seed: number): Promise<Stress> {
  const { backend } = node;
  const random = new SeededRandom(seed);
  let generation = Date.now() - 3_600_000;
  const nextGeneration = () => (generation += 1);
  const writers = await startWriters({ host: node.host, variant: variantBeside(backend), random });
  // Our rules depend on those of other programs: they select random ports if others do.
  const { expected, applyMs } = await recordRuleSets(node, nextGeneration);
  const errors: string[] = [];
  const { foreign: before } = await readState(node);
  const check = async (when: string) => {
    await writers.pause();
    const { ours, foreign }: KernelState = await readState(node);
    const wanted = writers.expected();
    for (const [what, found, expectedText] of [
      ['IPv4 rules', foreign.nat.v4, wanted.v4],
      ['IPv6 rules', foreign.nat.v6, wanted.v6],
      ['other tables, sets or ip rules', foreign.rest, before.rest],
    ] as const)
      if (found !== expectedText)
        errors.push(`${when}: ${what} of other programs changed:\n${differingLines(expectedText, found)}`);
    return ours;
  };
  return { node, writers, random, expected, applyMs, nextGeneration, check, errors };
}

/** Applies each rule set once while no other program writes. */
async function recordRuleSets(node: StressedNode, nextGeneration: () => number) {
  const expected = new Map<StressRuleSet, Families>();
  let applyMs = 0;
  for (const ruleSet of ruleSets) {
    const start = Date.now();
    const stdin = withGeneration(ruleSet, nextGeneration());
    const { code, stdout } = await node.execute(['apply'], { stdin });
    if (code !== 0) throw new Error(`${ruleSet.name} cannot be applied: ${stdout}`);
    applyMs = Math.max(applyMs, Date.now() - start);
    expected.set(ruleSet, (await readState(node)).ours);
  }
  await node.execute(['remove']);
  return { expected, applyMs };
}

/** Returns the lines of each text that the other lacks, or both texts if only the order differs. */
function differingLines(expected: string, found: string): string {
  const before = expected.split('\n');
  const after = found.split('\n');
  const lines = [
    ...before.filter((line) => !after.includes(line)).map((line) => `  missing: ${line}`),
    ...after.filter((line) => !before.includes(line)).map((line) => `  added: ${line}`),
  ];
  return lines.length > 0 ? lines.join('\n') : `  expected:\n${expected}\n  found:\n${found}`;
}

/** Returns the rule set with this text, without its generation. */
export function ruleSetOf(text: string | undefined): StressRuleSet | undefined {
  return ruleSets.find((each) => each.text === text);
}

/** Describes rules in the kernel: the rule sets that they belong to, or the rules themselves. */
export function describeRules({ expected }: Stress, rules: string, family: keyof Families): string {
  if (rules === '') return 'none';
  const names = [...expected].filter(([, each]) => each[family] === rules).map(([{ name }]) => name);
  return names.length > 0 ? names.join(' or ') : `unknown rules:\n${rules}`;
}
