import { describe, expect, test } from '@jest/globals';
import { describeDisagreement } from './compare';
import { makeBatch } from './generate';

describe('a case in which explain and the kernel disagree', () => {
  const batch = makeBatch(7, 12, 6);

  test('can be reproduced from the seed and the number of its batch', () => {
    expect(makeBatch(7, 12, 6)).toEqual(batch);
    expect(makeBatch(7, 12, 12).packets.slice(0, 6)).toEqual(batch.packets);
    expect(makeBatch(7, 13, 6)).not.toEqual(batch);
  });

  test('is reported with the command that reproduces the case, the packet, both results and the dump', () => {
    const [packet] = batch.packets;
    if (!packet) throw new Error('no packet');
    const compared = {
      packet,
      agreement: 'disagrees',
      kernel: '10.0.0.1',
      expected: ['10.0.0.2', 'nothing'],
    } as const;
    expect(
      describeDisagreement(compared, { seed: 7, id: batch.id, dump: '*nat\nCOMMIT\n' }).split('\n'),
    ).toEqual([
      'npm run test:explain -- --seed 7 --only 12',
      JSON.stringify(packet),
      'kernel: 10.0.0.1; explain: 10.0.0.2 or nothing',
      '*nat',
      'COMMIT',
      '',
    ]);
  });
});
