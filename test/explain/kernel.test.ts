import { expect, test } from '@jest/globals';
import { describeKernel } from '../lab/kernel';
import { compare, inWords } from './compare';

describeKernel('explain agrees with the kernel', undefined, () => {
  test('about random packets and rules', async () => {
    const seed = 20261122;
    const tally = await compare({ cases: 300, seed });
    console.log(inWords(tally, seed));
    expect(tally.disagreements).toEqual([]);
    expect(tally.open / tally.cases).toBeLessThan(0.35);
  }, 60_000);
});
