import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { limitRate, makeClients, type Clients } from '../../../shared/aws/client/clients';
import { makeCloud } from '../../../shared/aws/cloud';
import { memberRoleName } from '../../../shared/aws/names';
import { PermanentError } from '../../../shared/core/model/errors';
import { labRegion, startLocalAws, type LocalAws } from '../../lab/aws/cloud';
import { soon, subnetId, vpcId } from '../cloud';

const farFuture = Number.MAX_SAFE_INTEGER;

/**
 * Returns the number of milliseconds after which each wait ended. Only the minimum is certain, because a busy machine
 * makes each wait longer.
 */
async function timesOf(count: number, intervalMs: number, deadline = farFuture): Promise<number[]> {
  const wait = limitRate(2, intervalMs);
  const start = performance.now();
  const times: number[] = [];
  for (let i = 0; i < count; i += 1) {
    await wait(deadline);
    times.push(performance.now() - start);
  }
  return times;
}

describe('the rate limiter', () => {
  test('does not wait while calls are within the burst', async () => {
    const [, second] = await timesOf(2, 8_000);
    expect(second).toBeLessThan(4_000);
  });

  test('waits one interval after the previous call once the burst is used up', async () => {
    const [, , third, fourth] = await timesOf(4, 50);
    expect(third).toBeGreaterThanOrEqual(45);
    expect(fourth).toBeGreaterThanOrEqual(90);
  });

  test('stops waiting at the deadline', async () => {
    const times = await timesOf(6, 8_000, Date.now() + 60);
    expect(times.at(-1)).toBeLessThan(4_000);
  });
});

describe('the AWS clients of a member account', () => {
  const member = '222222222222';
  const roleName = memberRoleName('test', labRegion);
  const role = (name = roleName) => `arn:aws:iam::${member}:role/${name}`;

  let aws: LocalAws;
  let clients: Clients;

  beforeEach(async () => {
    aws = await startLocalAws();
    Object.assign(process.env, aws.env);
  });
  afterEach(async () => {
    clients.ec2.destroy();
    await aws.close();
  });

  test("list the account's nodes with the account's role, which is assumed only once", async () => {
    const account = aws.addAccount(member, { roleName });
    account.addNetwork({ vpcId, cidrs: ['172.20.0.0/16'], subnetIds: [subnetId] });
    const id = account.addNode({ subnetId, cluster: 'shop' });
    clients = makeClients(labRegion, role());
    const { nodes } = makeCloud(clients, { stage: 'test' });
    expect(await nodes.list(['shop'], soon())).toMatchObject([{ ref: { account: member, id } }]);
    // This call uses the cached credentials.
    await nodes.list(['shop'], soon());
    expect(aws.allCalls.filter(({ action }) => action === 'AssumeRole')).toHaveLength(1);
  });

  test('name the role that could not be assumed, and the policy statement that would allow it', async () => {
    clients = makeClients(labRegion, role('another'));
    const { nodes } = makeCloud(clients, { stage: 'test' });
    const failure = await nodes.list(['shop'], soon()).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(PermanentError);
    expect(failure).toMatchObject({
      code: 'access-denied',
      message: expect.stringContaining(role('another')),
      advice: expect.stringContaining('the statement AssumeMemberRoles'),
    });
  });
});
