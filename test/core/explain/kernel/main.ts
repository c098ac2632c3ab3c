import { parseArgs } from 'node:util';
import { compare, formatTally } from './compare';

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
  for (const text of tally.disagreements.slice(0, 3)) console.error(text);
  console.log(formatTally(tally, seed));
  if (tally.disagreements.length > 0) process.exitCode = 1;
}

void main();
