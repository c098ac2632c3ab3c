import { expect, test } from '@jest/globals';
import { parseCidr } from '../../../shared/core/model/cidr';
import { parseConfig } from '../../../shared/core/model/config';
import type { Outcome } from '../../../shared/core/reconcile/outcome';
import { reconcile, type Dependencies } from '../../../shared/core/reconcile/reconcile';
import { restartWhereConfigured } from '../../../shared/core/reconcile/restart-nodes';
import { FakeCloud, type FakeNode } from './fake-cloud';

const config = parseConfig(`clusters:
  shop: {pods: [10.244.0.0/16], masquerade: [{cidr: 10.0.0.0/16}], restart: {maxUnavailable: 1}}
  bank: {pods: [10.244.0.0/16], masquerade: [{cidr: 10.0.0.0/16}], restart: {maxUnavailable: 1}}
  mail: {pods: [10.244.0.0/16], masquerade: [{cidr: 10.0.0.0/16}]}
`);

const machine = (id: string, changes: Partial<FakeNode> = {}, cluster = 'shop'): FakeNode => ({
  node: {
    ref: { cloud: 'gcp', project: 'p', zone: 'z', id },
    name: id,
    clusters: [cluster],
    state: 'running',
    platform: 'linux',
    isControlPlane: false,
  },
  networkContext: {
    network: 'vpc',
    networkRanges: [parseCidr('172.20.0.0/16')],
    podRanges: [],
    routedPodRanges: [],
    routes: [],
    discoveredKinds: [],
  },
  isReady: true,
  ...changes,
});

const needsReboot = { withoutWatcher: 'idle' } as const;

/**
 * Reconciles these nodes and restarts those that need a restart. The clock advances only while the backfill waits.
 */
async function backfill(machines: readonly FakeNode[], seconds = 3_600) {
  const cloud = new FakeCloud();
  machines.forEach((each) => {
    cloud.add(each);
  });
  let now = 1_000_000;
  const logged: string[] = [];
  const logEvent = (event: string) => logged.push(event);
  const dependencies: Dependencies = {
    cloud,
    config,
    clock: { now: () => now },
    log: { info: logEvent, warn: logEvent, error: logEvent },
  };
  const deadline = now + seconds * 1_000;
  const { outcomes } = await reconcile({ clusters: ['*'] }, dependencies, { deadline });
  const wait = (milliseconds: number) => Promise.resolve((now += milliseconds));
  const results = await restartWhereConfigured(outcomes, dependencies, { deadline, wait });
  const kinds = Object.fromEntries(results.map((one: Outcome) => [one.node.id, one.kind]));
  return { restarted: cloud.restarted, kinds, logged };
}

test('nodes are restarted one at a time, each after the previous node has proven its rules', async () => {
  const { restarted, kinds, logged } = await backfill([
    machine('1', needsReboot),
    machine('2', needsReboot),
    machine('3'),
  ]);
  expect(restarted).toEqual(['1', '2']);
  expect(kinds).toEqual({ 1: 'proven', 2: 'proven', 3: 'proven' });
  const restartEvents = logged.filter((event) => event === 'NodeRestarted' || event === 'NodeProven');
  expect(restartEvents).toEqual(['NodeProven', 'NodeRestarted', 'NodeProven', 'NodeRestarted', 'NodeProven']);
});

test('no more nodes of a cluster are restarted after a node did not come back', async () => {
  const stuck = machine('1', { ...needsReboot, onRestart: 'never-reports' });
  const { restarted, kinds } = await backfill([
    stuck,
    machine('2', needsReboot),
    machine('3', needsReboot, 'bank'),
  ]);
  expect(restarted).toEqual(['1', '3']);
  expect(kinds).toEqual({ 1: 'pending', 2: 'needs-reboot', 3: 'proven' });
});

test.each<[string, FakeNode[]]>([
  ['if the config does not allow restarts', [machine('1', needsReboot, 'mail')]],
  ['if a rule set that was proven earlier is in force on it', [machine('1', { withoutWatcher: 'serving' })]],
  [
    'while another node of the cluster is not proven',
    [machine('1', needsReboot), machine('2', { isSilent: true })],
  ],
  [
    'after the restart of another node of the cluster did not help',
    [machine('1', needsReboot), machine('2', { withoutWatcher: 'already-tried' })],
  ],
])('no node is restarted %s', async (_, machines) => {
  const { restarted, kinds } = await backfill(machines);
  expect(restarted).toEqual([]);
  expect(kinds['1']).toBe('needs-reboot');
});

test('no node is restarted if there is too little time to wait for its report', async () => {
  expect((await backfill([machine('1', needsReboot)], 30)).restarted).toEqual([]);
});

test('a missing permission is logged, and no more nodes are restarted', async () => {
  const forbidden = { ...needsReboot, onRestart: 'permission-denied' } as const;
  const { restarted, kinds, logged } = await backfill([machine('1', forbidden), machine('2', needsReboot)]);
  expect(restarted).toEqual([]);
  expect(kinds).toEqual({ 1: 'failed', 2: 'needs-reboot' });
  expect(logged).toContain('NodeFailed');
});
