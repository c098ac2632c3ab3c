import { describe, expect, test } from '@jest/globals';
import { listAll } from '../../../shared/aws/client/pages';
import { PermanentError } from '../../../shared/core/model/errors';

const soon = () => Date.now() + 5_000;

/** Lists pages whose continuation tokens are `tokens`, and returns the tokens that were requested. */
async function list(tokens: readonly (string | undefined)[], deadline = soon(), pageMs = 0) {
  const requested: (string | undefined)[] = [];
  const listing = listAll('ec2:DescribeVpcs', deadline, async ({ NextToken }) => {
    await new Promise((resolve) => setTimeout(resolve, pageMs));
    requested.push(NextToken);
    return { NextToken: tokens[requested.length - 1], number: requested.length };
  });
  const outcome = await listing.catch((error: unknown) => error);
  return { outcome, requested };
}

describe('listAll', () => {
  test('returns all pages in order', async () => {
    const { outcome, requested } = await list(['a', 'b', undefined]);
    expect(outcome).toMatchObject([{ number: 1 }, { number: 2 }, { number: 3 }]);
    expect(requested).toEqual([undefined, 'a', 'b']);
  });

  test('ends when the token is empty', async () => {
    expect((await list(['a', ''])).outcome).toHaveLength(2);
  });

  test('checks the deadline between pages', async () => {
    const endless = Array.from({ length: 100 }, (_, index) => `token-${index}`);
    const { outcome, requested } = await list(endless, Date.now() + 200, 30);
    expect(outcome).toMatchObject({ code: 'out-of-time' });
    expect(requested.length).toBeLessThan(20);
  });

  test.each([
    ['the same page', ['a', 'a']],
    ['an earlier page', ['a', 'b', 'a']],
  ])('throws when a token leads back to %s', async (_, tokens) => {
    const { outcome, requested } = await list(tokens);
    expect(outcome).toBeInstanceOf(PermanentError);
    expect(outcome).toMatchObject({
      code: 'repeated-page',
      message: 'ec2:DescribeVpcs returned the same page token twice',
    });
    expect(requested).toHaveLength(tokens.length);
  });
});
