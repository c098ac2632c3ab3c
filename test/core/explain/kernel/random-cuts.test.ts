import { expect, test } from '@jest/globals';
import { describeKernel } from '../../../lab/kernel';
import { checkCuts, formatCutTally } from './cuts';

describeKernel('with a random part of the snapshot removed,', undefined, () => {
  test('no certain answer differs from what the kernel does', async () => {
    const tally = await checkCuts({ cases: 300, seed: 20261129 });
    console.log(formatCutTally(tally));
    expect(tally.disagreements).toEqual([]);
    expect(tally.certain).toBeGreaterThan(0);
  }, 120_000);
});
