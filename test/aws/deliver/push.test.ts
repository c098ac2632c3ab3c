import { describe, expect, test } from '@jest/globals';
import { packedLimit } from '../../../shared/aws/names';
import { parseCidr } from '../../../shared/core/model/cidr';
import { PermanentError, RetryableError } from '../../../shared/core/model/errors';
import { packRuleSet } from '../../../shared/core/model/rule-set';
import { labAccount } from '../../lab/aws/cloud';
import {
  addNodes,
  fillTags,
  idsOf,
  isPushed,
  lab,
  otherRuleSet,
  push,
  refresh,
  resultsById,
  ruleSet,
} from './channel-lab';

describe('pushing rule sets', () => {
  test('to 120 nodes takes three commands, and each command contains the rule set', async () => {
    const nodes = await addNodes(120);
    const results = await push(nodes);
    expect(new Set(results.map(({ node }) => node))).toEqual(new Set(nodes));
    expect(results.every(isPushed)).toBe(true);
    expect(['DescribeInstanceInformation', 'SendCommand'].map((action) => lab.aws.count(action))).toEqual([
      3, 3,
    ]);
    expect(lab.aws.calls.find(({ action }) => action === 'SendCommand')?.input).toMatchObject({
      DocumentName: 'peermasq-apply-test',
      Parameters: { ruleset: [packRuleSet(ruleSet)] },
      MaxErrors: '100%',
    });
  });

  test('skips nodes whose SSM agent is unknown or offline, and reaches the other nodes', async () => {
    const nodes = await addNodes(3);
    const [unknown = '', offline = '', online = ''] = idsOf(nodes);
    lab.aws.state.agents.delete(unknown);
    lab.aws.setReady(offline, false);
    const results = await push(nodes);
    expect(resultsById(results)).toEqual({
      [unknown]: 'not-ready',
      [offline]: 'not-ready',
      [online]: 'pushed',
    });
    expect(results.find(({ result }) => result === 'not-ready')).toMatchObject({
      reason: 'its SSM agent is not online',
      retryAfterSeconds: 5,
    });
  });

  test('reaches a node as soon as its SSM agent is online', async () => {
    const nodes = await addNodes(1);
    const id = nodes[0]?.ref.id ?? '';
    lab.aws.setReady(id, false);
    expect(resultsById(await push(nodes))).toEqual({ [id]: 'not-ready' });
    lab.aws.setReady(id, true);
    expect(resultsById(await push(nodes))).toEqual({ [id]: 'pushed' });
  });

  test('sends no command while no node is ready', async () => {
    const nodes = await addNodes(1);
    lab.aws.state.agents.clear();
    await push(nodes);
    expect(lab.aws.count('SendCommand')).toBe(0);
  });

  test('with several rule sets at the same time lists the SSM agents only once', async () => {
    const nodes = await addNodes(6);
    const results = await Promise.all([push(nodes.slice(0, 3)), push(nodes.slice(3), otherRuleSet)]);
    expect(results.flat().map(({ result }) => result)).toEqual(Array(6).fill('pushed'));
    expect(lab.aws.count('DescribeInstanceInformation')).toBe(1);
  });

  test('that do not fit in a command fails without a call', async () => {
    const octet = (i: number, shift: number) => ((i * 2_654_435_761) >>> shift) & 255;
    const destinations = Array.from({ length: 30_000 }, (_, i) => ({
      cidr: parseCidr(`${octet(i, 0)}.${octet(i, 8)}.${octet(i, 16)}.${octet(i, 24)}/32`),
      name: 'x',
    }));
    const nodes = await addNodes(1);
    lab.aws.calls.length = 0;
    const large = { ...ruleSet, destinations };
    expect(packRuleSet(large).length).toBeGreaterThan(packedLimit);
    expect(await push(nodes, large)).toMatchObject([
      { result: 'failed', error: { code: 'rule-set-too-large' } },
    ]);
    expect(lab.aws.calls).toEqual([]);
  });

  test('to a node that is starting waits for its SSM agent', async () => {
    const [node] = await addNodes(1);
    if (!node) throw new Error('no node');
    expect(lab.cloud.channel.checkReadiness(node)).toBeUndefined();
    expect(lab.cloud.channel.checkReadiness({ ...node, state: 'starting' })).toEqual({
      reason: 'the instance is starting',
      retryAfterSeconds: 5,
    });
  });
});

describe('an SSM command that AWS rejects', () => {
  test('is sent again without the node that the error names', async () => {
    const nodes = await addNodes(3);
    const [gone = '', ...rest] = idsOf(nodes);
    const message = `Instances [[${gone}]] not in a valid state for account ${labAccount}`;
    lab.aws.fail('SendCommand', 'InvalidInstanceId', message);
    expect(resultsById(await push(nodes))).toEqual({
      [gone]: 'not-ready',
      ...Object.fromEntries(rest.map((id) => [id, 'pushed'])),
    });
  });

  test('marks all nodes as not ready when there are few of them and the error names none', async () => {
    lab.aws.fail('SendCommand', 'InvalidInstanceId', '');
    expect((await push(await addNodes(2))).map(({ result }) => result)).toEqual(['not-ready', 'not-ready']);
  });

  test('is split in half when there are many nodes and the error names none', async () => {
    const nodes = await addNodes(20);
    lab.aws.fail('SendCommand', 'InvalidInstanceId', '');
    expect((await push(nodes)).every(({ result }) => result === 'pushed')).toBe(true);
    expect(lab.aws.count('SendCommand')).toBe(3);
  });

  test('is split in half with a limited number of calls when every part is rejected', async () => {
    lab.aws.fail('SendCommand', 'InvalidInstanceId', '', Infinity);
    const results = await push(await addNodes(20));
    expect(results.every(({ result }) => result === 'not-ready')).toBe(true);
    // The SDK repeats each call once.
    expect(lab.aws.count('SendCommand')).toBeLessThanOrEqual(14);
  });

  test('fails only the node for which SendCommand is denied, and the error names the permission', async () => {
    const nodes = await addNodes(2);
    const [denied = '', other = ''] = idsOf(nodes);
    const agent = lab.aws.state.agents.get(denied);
    if (agent) agent.isCommandDenied = true;
    const results = await push(nodes);
    expect(resultsById(results)).toEqual({ [denied]: 'failed', [other]: 'pushed' });
    const failed = results.find(({ result }) => result === 'failed');
    expect(failed).toMatchObject({ error: expect.any(PermanentError) });
    expect(failed).toMatchObject({
      error: {
        message: expect.stringContaining(`ssm:SendCommand on arn:aws:ec2:us-east-1:${labAccount}:instance/`),
      },
    });
  });

  test('throws when access to the document is denied, because that affects all nodes', async () => {
    const document = `arn:aws:ssm:us-east-1:${labAccount}:document/peermasq-apply-test`;
    lab.aws.deny('ssm:SendCommand', document);
    const error = await push(await addNodes(1)).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(PermanentError);
    expect(error).toMatchObject({ message: expect.stringContaining(`ssm:SendCommand on ${document}`) });
  });

  test('fails permanently when the document does not exist', async () => {
    lab.aws.state.documents.clear();
    const [result] = await push(await addNodes(1));
    expect(result).toMatchObject({ result: 'failed', error: { code: 'InvalidDocument' } });
  });

  test('fails with a retryable error when it stays throttled', async () => {
    lab.aws.throttle('SendCommand', 9);
    const [result] = await push(await addNodes(1));
    expect(result).toMatchObject({
      result: 'failed',
      error: { code: 'throttled', cause: { name: 'ThrottlingException' } },
    });
    expect(result?.result === 'failed' && result.error).toBeInstanceOf(RetryableError);
  });
});

describe('the tag that marks a node as pushed', () => {
  test('prevents a second push of the same rule set, but not of a different one', async () => {
    const nodes = await addNodes(2);
    await push(nodes);
    const marked = await refresh(nodes);
    expect((await push(marked)).map(({ result }) => result)).toEqual(['not-ready', 'not-ready']);
    expect(lab.aws.count('SendCommand')).toBe(1);
    const other = await push(marked, otherRuleSet);
    expect(other.map(({ result }) => result)).toEqual(['pushed', 'pushed']);
  });

  test('may be missing on a node without a proof, because all its tags may be in use', async () => {
    const nodes = await addNodes(1);
    for (const node of nodes) fillTags(node);
    expect((await push(nodes)).map(({ result }) => result)).toEqual(['pushed']);
  });
});
