import { expect, test } from '@jest/globals';
import { describeKernel } from '../../../lab/kernel';
import { checkFixes, formatFixTally } from './fixes';

describeKernel("after explain's fix, the kernel", undefined, () => {
  test('sends the next packet as wanted', async () => {
    const tally = await checkFixes({ cases: 30, seed: 20261129 });
    console.log(formatFixTally(tally));
    expect(tally.disagreements).toEqual([]);
    expect([...tally.counts.keys()].toSorted()).toEqual(['direct', 'let through', 'masquerade']);
  }, 120_000);
});
