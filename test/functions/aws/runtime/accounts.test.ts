import { describe, expect, test } from '@jest/globals';
import { memberTemplate } from '../../../../infra/aws/member';
import { labAccount, labRegion } from '../../../lab/aws/cloud';
import { readRole } from '../../../lab/aws/iam-policies';
import {
  addNode,
  aws,
  deadLetterReasons,
  deploy,
  logged,
  metric,
  objective,
  prepare,
  drained,
  stack,
  statusOf,
} from '../deployed';

describe('the nodes of member accounts', () => {
  const member = '222222222222';
  const deployment = { params: { memberAccounts: member }, env: objective(1_000) };

  /** Reads the role that the functions assume from the template for member accounts. */
  const memberRole = (functions: readonly string[]) => {
    const template = memberTemplate({
      stage: 'dev',
      central: labAccount,
      launchGate: 'off',
      clusters: ['shop'],
      functions,
      program: 'echo hello\n',
    });
    return readRole(template.Resources, 'MemberRole', { account: member, region: labRegion });
  };

  test("are handled with the member account's role, both on events and in sweeps", async () => {
    const account = aws.addAccount(member, memberRole(['node-joined', 'sweep']));
    prepare(account);
    deploy(deployment);
    const own = addNode();
    const joined = addNode({}, account);
    const old = addNode({}, account);
    stack.put(account.stateChangeEvent(joined));
    await drained();
    expect(statusOf(joined, account)).toMatch(/^proven/);
    await stack.invoke('sweep', {});
    expect([statusOf(own), statusOf(old, account)]).toEqual([
      expect.stringMatching(/^proven/),
      expect.stringMatching(/^proven/),
    ]);
  });

  test("do not affect other accounts when the member account's role cannot be assumed", async () => {
    aws.addAccount(member, memberRole(['backfill']));
    deploy(deployment);
    const own = addNode();
    stack.put(aws.stateChangeEvent(own));
    stack.put({ ...aws.stateChangeEvent(addNode()), account: member });
    await drained();
    expect(statusOf(own)).toMatch(/^proven/);
    expect(deadLetterReasons()).toEqual([expect.stringContaining('the statement AssumeMemberRoles')]);
    await expect(stack.invoke('sweep', {})).rejects.toThrow('sts:AssumeRole');
    expect(metric('NodesUnproven', { cluster: 'shop' })).toEqual([0]);
  });

  test('are ignored unless the account is configured', async () => {
    deploy();
    stack.put({ ...aws.stateChangeEvent(addNode()), account: member });
    await drained();
    expect(logged('EventIgnored')).toHaveLength(1);
    expect(aws.count('DescribeInstances')).toBe(0);
  });
});
