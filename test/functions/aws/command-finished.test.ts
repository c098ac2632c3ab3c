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

  test('a node that keeps failing is no longer retried, and its tag has the status failed', async () => {
    deploy({ env: objective(1_000) });
    const id = addNode({ machine: failsFirst(99) });
    stack.put(aws.stateChangeEvent(id));
    await drained();
    expect(nodesLogged('NodeTimedOut')).toEqual([id]);
    expect(deadLetterReasons()).toEqual([expect.stringContaining('not proven')]);
    expect(statusOf(id)).toMatch(/^failed/);
  });

  test('reads a late report once the SSM command has finished', async () => {
    // Leaves node-joined only one second to wait for reports.
    deploy({ timeoutSeconds: 8, resultsAfterSeconds: 0 });
    const id = addNode({ commandDelayMs: 1_400 });
    stack.put(aws.stateChangeEvent(id));
    await stack.idle();
    const proven = logged('NodeProven').map((entry) => [entry['function'], entry['node']]);
    expect(proven).toContainEqual(['command-finished', id]);
    expect(statusOf(id)).toMatch(/^proven \S+ routes=1 format=2$/);
    expect(aws.count('SendCommand')).toBe(1);
  });

  test('looks up the nodes only once for reports that node-joined has already read', async () => {
    deploy({ resultsAfterSeconds: 100 });
    const ids = [addNode(), addNode()];
    stack.put(aws.runInstancesEvent(ids));
    await stack.idle();
    expect(aws.count('ListCommandInvocations')).toBe(1);
    // One lookup is by node-joined, and one by each batch of command-finished: Lambda may split the two results.
    expect(aws.count('DescribeInstances')).toBeLessThanOrEqual(3);
    expect(metric('NodesProven')).toEqual([2]);
  });
});
