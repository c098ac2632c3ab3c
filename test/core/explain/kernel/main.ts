import { parseArgs } from 'node:util';
import { compare, formatTally } from './compare';
import { checkCuts, formatCutTally } from './cuts';
import { checkFixes, formatFixTally } from './fixes';

const { values } = parseArgs({
  options: {
    cases: { type: 'string', default: '10000' },
    seed: { type: 'string', default: '20261122' },
    only: { type: 'string' },
  },
});

async function main(): Promise<void> {
  const seed = Number(values.seed);
  const only = values.only === undefined ? undefined : Number(values.only);
  const tally = await compare({ cases: Number(values.cases), seed, only });
  const fixes = await checkFixes({ cases: Math.ceil(Number(values.cases) / 10), seed, only });
  const cuts = await checkCuts({ cases: Number(values.cases), seed, only });
  const disagreements = [...tally.disagreements, ...fixes.disagreements, ...cuts.disagreements];
  for (const text of disagreements.slice(0, 3)) console.error(text);
  console.log(formatTally(tally, seed));
  console.log(formatFixTally(fixes));
  console.log(formatCutTally(cuts));
  if (disagreements.length > 0) process.exitCode = 1;
}

void main();
