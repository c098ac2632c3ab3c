import { describe, expect, test } from '@jest/globals';
import {
  addNode,
  aws,
  deadLetterReasons,
  deploy,
  failsFirst,
  logged,
  metric,
  nodesLogged,
  objective,
  drained,
  stack,
  statusOf,
} from './deployed';

describe('command-finished', () => {
  test("records a failed node's result, and the node is then retried and proven", async () => {
    deploy();
    const id = addNode({ machine: failsFirst(1) });
    stack.put(aws.stateChangeEvent(id));
    await drained();
    expect(nodesLogged('NodeFailed')).toEqual([id]);
    expect(nodesLogged('NodeProven')).toEqual([id]);
    expect(statusOf(id)).toMatch(/^proven/);
  });

  test('stops retrying a node that keeps failing, and sets its status tag to failed', async () => {
    deploy({ env: objective(1_000) });
    const id = addNode({ machine: failsFirst(99) });
    stack.put(aws.stateChangeEvent(id));
    await drained();
    expect(nodesLogged('NodeTimedOut')).toEqual([id]);
    expect(deadLetterReasons()).toEqual([expect.stringContaining('not proven')]);
    expect(statusOf(id)).toMatch(/^failed/);
  });

  test('reads a late report once the SSM command has finished', async () => {
    // With this timeout, node-joined can wait only one second for reports.
    deploy({ timeoutSeconds: 8, resultsAfterSeconds: 0 });
    const id = addNode({ commandDelayMs: 1_400 });
    stack.put(aws.stateChangeEvent(id));
    await stack.idle();
    const proven = logged('NodeProven').map((entry) => [entry['function'], entry['node']]);
    expect(proven).toContainEqual(['command-finished', id]);
    expect(statusOf(id)).toMatch(/^proven \S+ routes=1 format=2$/);
    expect(aws.count('SendCommand')).toBe(1);
  });

  test('does not re-read reports that node-joined has already read', async () => {
    deploy({ resultsAfterSeconds: 100 });
    const ids = [addNode(), addNode()];
    stack.put(aws.runInstancesEvent(ids));
    await stack.idle();
    expect(aws.count('ListCommandInvocations')).toBe(1);
    // node-joined calls the API once, and command-finished once per batch. Lambda may deliver the two results in two
    // batches.
    expect(aws.count('DescribeInstances')).toBeLessThanOrEqual(3);
    expect(metric('NodesProven')).toEqual([2]);
  });
});
