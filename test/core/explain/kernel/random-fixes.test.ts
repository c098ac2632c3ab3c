import { expect, test } from '@jest/globals';
import { describeKernel } from '../../../lab/kernel';
import { checkFixes, formatFixTally } from './fixes';

describeKernel("after explain's fix, the kernel", undefined, () => {
  test('sends the next packet as wanted', async () => {
    const tally = await checkFixes({ cases: 20, seed: 20261129 });
    console.log(formatFixTally(tally));
    expect(tally.disagreements).toEqual([]);
    // Few random packets are certain to be dropped, so only the long run is sure to have fixes for those.
    expect([...tally.counts.keys()]).toEqual(expect.arrayContaining(['direct', 'masquerade']));
  }, 120_000);
});
