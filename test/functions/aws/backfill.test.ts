import { describe, expect, test } from '@jest/globals';
import { addNode, aws, deploy, logged, metric, objective, stack, statusOf } from './deployed';

describe('the backfill function', () => {
  test('returns the planned rule sets in a dry run without changing anything, and applies them in the next run', async () => {
    deploy();
    const id = addNode();
    const dry = await stack.invoke('backfill', { dryRun: true });
    expect(dry.response).toMatchObject({
      dryRun: true,
      counts: { planned: 1 },
      nodes: [
        {
          node: `aws:${id}`,
          cluster: 'shop',
          outcome: 'planned',
          isChange: true,
          id: expect.stringMatching(/^[0-9a-f]{64}$/),
        },
      ],
    });
    const { ruleSets } = dry.response as { ruleSets: Record<string, string> };
    expect(Object.values(ruleSets)).toEqual([
      expect.stringContaining('masquerade 10.0.0.0/16 pcx-0123456789abcdef0\n'),
    ]);
    expect(aws.count('SendCommand') + aws.count('CreateTags')).toBe(0);
    const { response } = await stack.invoke('backfill', { clusters: ['shop'] });
    expect(response).toMatchObject({ dryRun: false, counts: { proven: 1 } });
    const second = await stack.invoke('backfill', { dryRun: true });
    expect(second.response).toMatchObject({ nodes: [{ isChange: false }] });
  });

  test('skips new nodes in a sweep, because they are handled when their own events arrive', async () => {
    deploy();
    const fresh = addNode();
    const old = addNode();
    const instance = aws.state.instances.get(old);
    if (instance) instance.launchTime = new Date(Date.now() - 600_000);
    await stack.invoke('sweep', { skipNewNodes: true });
    expect([statusOf(fresh), statusOf(old)]).toEqual([undefined, expect.stringMatching(/^proven/)]);
  });

  test('does not report that there are no unproven nodes when a sweep fails', async () => {
    deploy();
    addNode();
    aws.deny('ec2:DescribeInstances');
    await expect(stack.invoke('sweep', {})).rejects.toThrow('the statement DiscoverNodes');
    expect(metric('NodesUnproven')).toEqual([]);
  });

  test('fails a sweep that has no permission to write tags, and names the missing policy statement', async () => {
    deploy();
    addNode();
    aws.deny('ec2:CreateTags');
    await expect(stack.invoke('sweep', {})).rejects.toThrow('the statement RecordInTags');
  });

  test('lists skipped nodes in the response, but logs only their number', async () => {
    deploy();
    addNode({ platformDetails: 'Windows' });
    const { response } = await stack.invoke('backfill', {});
    expect(response).toMatchObject({ counts: { skipped: 1 }, nodes: [{ reason: 'windows' }] });
    expect(logged('NodeSkipped')).toEqual([]);
    expect(logged('SweepFinished')).toMatchObject([{ skips: { windows: 1 } }]);
  });

  test('counts the nodes that are still unproven in a sweep after the objective has passed', async () => {
    deploy({ env: objective(60_000) });
    const launched = (minutes: number) => ({ isReady: false, minutes });
    for (const { minutes, ...node } of [launched(0), launched(5), launched(50)]) {
      const instance = aws.state.instances.get(addNode(node));
      if (instance) instance.launchTime = new Date(Date.now() - minutes * 60_000);
    }
    await stack.invoke('sweep', {});
    expect(metric('NodesUnproven', { cluster: 'shop' })).toEqual([2]);
    expect(logged('SweepFinished')).toMatchObject([{ counts: { pending: 3 } }]);
  });

  test('rejects an invalid request and names the invalid field', async () => {
    deploy();
    await expect(stack.invoke('backfill', { dryrun: true })).rejects.toThrow(/dryrun[^]*bad-request/);
    expect(aws.calls).toEqual([]);
  });
});

describe('a misconfigured function', () => {
  test('stops at startup and reports all errors in the config', async () => {
    deploy({ config: 'clusters: {shop: {pods: [10.244.0.1/16], masquerade: [peering]}}' });
    const failure = stack.invoke('backfill', {});
    await expect(failure).rejects.toThrow(/has 2 errors:[^]*host bits set[^]*invalid value "peering"/);
    expect(aws.calls).toEqual([]);
  });

  test('stops at startup and reports all invalid environment variables', async () => {
    deploy({ env: { PEERMASQ_LAUNCH_GATE: 'maybe', PEERMASQ_OBJECTIVE_MINUTES: 'soon' } });
    const failure = stack.invoke('backfill', {});
    await expect(failure).rejects.toThrow(/PEERMASQ_OBJECTIVE_MINUTES[^]*PEERMASQ_LAUNCH_GATE/);
  });
});
