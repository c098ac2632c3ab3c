import { expect, test } from '@jest/globals';
import { describeKernel } from '../../../lab/kernel';
import { compare, formatTally, policyRouting } from './compare';
import { printedForms } from './forms';
import { ruleSetKinds } from './generate';

describeKernel('explain agrees with the kernel', undefined, () => {
  test('about random packets and rules', async () => {
    const seed = 20261122;
    const tally = await compare({ cases: 300, seed });
    console.log(formatTally(tally, seed));
    expect(tally.disagreements).toEqual([]);
    // The same rules as `iptables -S`, `iptables -L` and the text of nft. Most of them show enough for an answer.
    expect([...tally.forms.keys()].sort()).toEqual(printedForms.map(({ name }) => name).sort());
    for (const { cases, certain } of tally.forms.values()) expect(certain / cases).toBeGreaterThan(0.3);
    expect([...tally.counts.keys()]).toEqual(expect.arrayContaining([...ruleSetKinds, policyRouting]));
    // An inconclusive result never contradicts the kernel, so too many of them would hide errors. Random matches and
    // the order of chains with equal priority leave 15 % of 3,000 cases inconclusive, and 21 % of the cases in this
    // test.
    expect(tally.inconclusive / tally.cases).toBeLessThanOrEqual(0.25);
  }, 60_000);
});
