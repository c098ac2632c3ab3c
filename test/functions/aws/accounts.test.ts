import { describe, expect, test } from '@jest/globals';
import { memberRoleName } from '../../../shared/aws/names';
import { labRegion } from '../../lab/aws/aws';
import {
  addNode,
  aws,
  buried,
  deploy,
  logged,
  metric,
  objective,
  prepare,
  served,
  stack,
  statusOf,
} from './deployed';

describe('further accounts', () => {
  const member = '222222222222';
  const env = { PEERMASQ_MEMBER_ACCOUNTS: member, ...objective(1_000) };

  test('are served with their own role, by events and by sweeps', async () => {
    const account = aws.addAccount(member, { roleName: memberRoleName('dev', labRegion) });
    prepare(account);
    deploy({ env });
    const [own, joined, old] = [addNode(), addNode({}, account), addNode({}, account)];
    stack.put(account.stateChangeEvent(joined));
    await served();
    expect(statusOf(joined, account)).toMatch(/^proven/);
    await stack.invoke('sweep', {});
    expect([statusOf(own), statusOf(old, account)]).toEqual([
      expect.stringMatching(/^proven/),
      expect.stringMatching(/^proven/),
    ]);
  });

  test('that cannot be entered do not keep the others from their rules', async () => {
    aws.addAccount(member, { roleName: 'another' });
    deploy({ env });
    const own = addNode();
    stack.put(aws.stateChangeEvent(own));
    stack.put({ ...aws.stateChangeEvent(addNode()), account: member });
    await served();
    expect(statusOf(own)).toMatch(/^proven/);
    expect(buried()).toEqual([expect.stringContaining('its statement EnterMembers')]);
    await expect(stack.invoke('sweep', {})).rejects.toThrow('sts:AssumeRole');
    expect(metric('NodesUnproven', { cluster: 'shop' })).toEqual([0]);
  });

  test('that nobody named are left to their own deployment', async () => {
    deploy();
    stack.put({ ...aws.stateChangeEvent(addNode()), account: member });
    await served();
    expect(logged('EventIgnored')).toHaveLength(1);
    expect(aws.count('DescribeInstances')).toBe(0);
  });
});
