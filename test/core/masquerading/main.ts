import { parseArgs } from 'node:util';
import { checkAgreement } from './agreement';

const { values } = parseArgs({
  options: {
    cases: { type: 'string', default: '100000' },
    seed: { type: 'string', default: '20261129' },
  },
});

const seed = Number(values.seed);
console.log(`plan, decide, doctor and explain never contradict each other: seed ${seed}`);
const { cases, masqueraded, codes } = checkAgreement({ cases: Number(values.cases), seed });
for (const [code, count] of [...codes].toSorted(([, a], [, b]) => b - a)) console.log(`${count}\t${code}`);
console.log(`${cases} cases, ${masqueraded} masqueraded by the plan, 0 contradictions`);
