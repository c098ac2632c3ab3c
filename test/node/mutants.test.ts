import { expect, test } from '@jest/globals';
import { describeKernel, isRoot } from '../lab/kernel';
import { nodeProgram, programFile } from '../lab/node-program';
import { runEnvironment } from './environments/outcome';
import { environmentOf, type Mutant, mutants, mutate, symptomsOf } from './mutants';
import { missing } from './network';

// In the long run, every mutant is tested: npm run test:mutants.
const isLongRun = process.env['PEERMASQ_MUTANTS'] === 'all';
const included = mutants.filter(({ inShortRun }) => isLongRun || inShortRun);
const needsRoot = (mutant: Mutant) => environmentOf(mutant).needsRoot === true;
const backend = 'iptables-nft';

test.each(mutants)('the node program contains the text that the mutant replaces: $mistake', (mutant) => {
  expect(mutate(nodeProgram, mutant)).not.toBe(nodeProgram);
  expect(environmentOf(mutant)).toBeDefined();
});

describeKernel('the tests of the environments detect the mistake that', missing(backend), () => {
  const runnable = included.filter((mutant) => !needsRoot(mutant) || isRoot);
  test.concurrent.each(runnable)(
    '$mistake',
    async (mutant) => {
      const environment = environmentOf(mutant);
      const program = programFile(mutate(nodeProgram, mutant));
      const outcome = await runEnvironment(environment, { backend, length: 'short', program });
      expect(symptomsOf(environment, outcome)).toContain(mutant.symptom);
    },
    60_000,
  );
});
