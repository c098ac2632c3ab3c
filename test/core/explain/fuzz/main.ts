import { parseArgs } from 'node:util';
import { checkLargeInputs } from './large';
import { fuzz } from './fuzz';

const { values } = parseArgs({
  options: {
    inputs: { type: 'string', default: '100000' },
    seed: { type: 'string', default: '20261122' },
  },
});

const seed = Number(values.seed);
const { answers, errors, slowest, failures } = fuzz({ cases: Number(values.inputs), seed });
for (const failure of failures.slice(0, 3)) console.error(failure);
console.log(
  `${answers + errors + failures.length} damaged inputs with seed ${seed}: ${answers} answers, ${errors} errors, ${failures.length} failures; the slowest took ${Math.round(slowest)} ms of CPU time`,
);
const large = checkLargeInputs(64);
for (const line of large.lines) console.log(line);
if (failures.length > 0 || large.tooSlow.length > 0) process.exitCode = 1;
