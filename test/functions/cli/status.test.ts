import { expect, test } from '@jest/globals';
import { dryRun } from '../../../functions/cli/dry-run';
import { formatStatus } from '../../../functions/cli/format-status';
import { parseCidr } from '../../../shared/core/model/cidr';
import { parseConfig } from '../../../shared/core/model/config';
import type { Node } from '../../../shared/core/model/node';
import { FakeCloud } from '../../core/reconcile/fake-cloud';

const unused = () => Promise.reject(new Error('unexpected call'));
const ignore = () => undefined;
const at = new Date('2026-11-22T12:00:00.000Z');

/** Returns the only line about the node in the output of `status`. */
async function statusLine(node: Partial<Node>): Promise<string> {
  const cloud = new FakeCloud();
  cloud.add({
    node: {
      ref: { cloud: 'aws', account: '111122223333', region: 'eu-west-1', id: 'i-1' },
      name: 'node-1',
      clusters: ['shop'],
      state: 'running',
      platform: 'linux',
      isControlPlane: false,
      ...node,
    },
    networkContext: {
      network: 'vpc-1',
      networkRanges: [parseCidr('172.20.0.0/16')],
      podRanges: [],
      routedPodRanges: [],
      routes: [],
      discoveredKinds: [],
    },
    isReady: true,
  });
  const target = {
    name: 'aws',
    cloud,
    config: parseConfig('clusters: {shop: {masquerade: [{cidr: 10.193.0.0/16}]}}'),
    clock: Date,
    log: { info: ignore, warn: ignore, error: ignore },
    inspection: { takeSnapshot: unused, getRuleSetsInForce: unused },
    reach: { checks: unused },
  };
  const result = await dryRun([target], { clusters: ['shop'], deadline: Date.now() + 5_000 });
  const { text } = formatStatus(result, { all: true, now: at });
  return text.split('\n').find((line) => line.includes('node-1')) ?? text;
}

test.each<[string, Partial<Node>, RegExp]>([
  ['that nothing was pushed', {}, /pending .*Nothing has been pushed yet\./],
  [
    'that the last push failed',
    { lastPush: { state: 'failed', at } },
    /failed .*See the log for the reason\./,
  ],
  [
    'that clocks disagree, and where to read what to do',
    { lastPush: { state: 'failed', at, code: 'clock-skew' } },
    /failed .*clock-skew\. See docs\/runbook\.md#clock-skew\./,
  ],
])('status shows %s', async (_, node, line) => {
  expect(await statusLine(node)).toMatch(line);
});
