import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { parseCidr } from '../../../shared/core/model/cidr';
import { parseConfig } from '../../../shared/core/model/config';
import { PermanentError, RetryableError } from '../../../shared/core/model/errors';
import { nodeKey, type NodeRef, type Route, type NetworkContext } from '../../../shared/core/model/node';
import { retryAfterSeconds, type Outcome } from '../../../shared/core/reconcile/outcome';
import {
  reconcileOrThrow,
  type Dependencies,
  type ReconcileOptions,
  type Selection,
} from '../../../shared/core/reconcile/reconcile';
import { printRuleSet } from '../../../shared/core/model/rule-set';
import { FakeCloud, type FakeNode } from './fake-cloud';

const refOf = (id: string): NodeRef => ({ cloud: 'aws', account: '111122223333', region: 'eu-west-1', id });

const routeTo = (destination: string): Route => ({
  kind: 'peerings',
  via: 'pcx-1',
  destination,
  state: 'active',
});

const networkContext: NetworkContext = {
  network: 'vpc-1',
  networkRanges: [parseCidr('172.20.0.0/16')],
  podRanges: [],
  routedPodRanges: [],
  routes: [routeTo('10.0.0.0/16')],
  discoveredKinds: ['peerings'],
};

const machine = (id: string, changes: Partial<FakeNode> = {}, clusters = ['shop']): FakeNode => ({
  node: { ref: refOf(id), name: id, clusters, state: 'running', platform: 'linux', isControlPlane: false },
  networkContext,
  isReady: true,
  ...changes,
});

function setUp(...machines: FakeNode[]) {
  const cloud = new FakeCloud();
  machines.forEach((each) => {
    cloud.add(each);
  });
  const logged: string[] = [];
  const logEvent = (event: string) => logged.push(event);
  let now = 1_000;
  const dependencies: Dependencies = {
    cloud,
    config: parseConfig('clusters: {shop: {pods: [10.244.0.0/16], masquerade: [peerings]}}'),
    clock: { now: () => (now += 1_000) },
    log: { info: logEvent, warn: logEvent, error: logEvent },
  };
  const run = (selection: Selection, options: Partial<ReconcileOptions> = {}) =>
    reconcileOrThrow(selection, dependencies, { deadline: Infinity, ...options });
  const inForce = (id: string) => {
    const ruleSet = cloud.machines.get(`aws:${id}`)?.inForce;
    return ruleSet && printRuleSet(ruleSet).split('\n').slice(2).filter(Boolean);
  };
  return { cloud, dependencies, logged, run, inForce };
}

const rules = [
  'source 10.244.0.0/16',
  'exempt 10.244.0.0/16 pods',
  'exempt 172.20.0.0/16 network',
  'masquerade 10.0.0.0/16 pcx-1',
];

test('a new node gets its rule set, proves it, and is recorded as proven', async () => {
  const { cloud, run, inForce, logged } = setUp(machine('i-1'));
  const [outcome] = await run([refOf('i-1')]);
  expect(outcome).toMatchObject({ kind: 'proven', cluster: 'shop', node: refOf('i-1') });
  expect(inForce('i-1')).toEqual(rules);
  expect(cloud.machines.get('aws:i-1')?.node.recorded?.isProven).toBe(true);
  expect(logged).toEqual(['RuleSetPushed', 'NodeProven']);
});

test('a plan that has changed since the user approved it is held, and an unchanged plan is pushed', async () => {
  const { cloud, dependencies, run } = setUp(machine('i-1'));
  const shown = await run([refOf('i-1')], { isDryRun: true });
  const approved = new Map(
    shown.map(({ node, ...outcome }) => [nodeKey(node), outcome.kind === 'planned' ? outcome.plan.id : '']),
  );
  const push = () => reconcileOrThrow([refOf('i-1')], dependencies, { deadline: Infinity, approved });
  cloud.add(machine('i-1', { networkContext: { ...networkContext, routes: [routeTo('10.7.0.0/16')] } }));
  expect(await push()).toMatchObject([
    { kind: 'held', detail: expect.stringContaining('Run the command again') },
  ]);
  expect(cloud.pushed).toEqual([]);
  cloud.add(machine('i-1'));
  expect(await push()).toMatchObject([{ kind: 'proven' }]);
});

test('a repeated event causes no push', async () => {
  const { cloud, run } = setUp(machine('i-1'));
  await run([refOf('i-1'), refOf('i-1')]);
  expect(await run([refOf('i-1')])).toMatchObject([{ kind: 'proven' }]);
  expect(cloud.pushed).toHaveLength(1);
});

test('nodes with the same rule set receive it in one push', async () => {
  const { cloud, run } = setUp(
    machine('i-1'),
    machine('i-2'),
    machine('i-3', { networkContext: { ...networkContext, routes: [routeTo('10.1.0.0/16')] } }),
    machine('i-4', {}, ['other']),
  );
  const outcomes = await run({ clusters: ['*'] });
  expect(cloud.pushed.map(({ nodes }) => nodes)).toEqual([['i-1', 'i-2'], ['i-3']]);
  expect(outcomes.map(({ kind }) => kind).toSorted()).toEqual(['proven', 'proven', 'proven', 'skipped']);
});

test('a dry run returns the changes and pushes nothing', async () => {
  const { cloud, run, inForce } = setUp(machine('i-1'), machine('i-2'));
  await run([refOf('i-1')]);
  const outcomes = await run({ clusters: ['shop'] }, { isDryRun: true });
  expect(outcomes).toMatchObject([
    { node: refOf('i-1'), kind: 'planned', isChange: false },
    { node: refOf('i-2'), kind: 'planned', isChange: true },
  ]);
  expect(inForce('i-2')).toBeUndefined();
  expect(cloud.pushed).toHaveLength(1);
});

test('the rules in force are kept when discovery suddenly finds no routes', async () => {
  const { cloud, run, inForce } = setUp(machine('i-1'));
  await run([refOf('i-1')]);
  const known = cloud.machines.get('aws:i-1');
  if (known) known.networkContext = { ...networkContext, routes: [] };
  expect(await run([refOf('i-1')])).toMatchObject([{ kind: 'held' }]);
  expect(inForce('i-1')).toEqual(rules);
});

interface RetryCase {
  readonly title: string;
  readonly changes: Partial<FakeNode>;
  readonly kind: Outcome['kind'];
  readonly seconds: number | undefined;
}

describe('the time until a node is retried depends on what happened:', () => {
  test.each<RetryCase>([
    { title: 'the agent is not online', changes: { isReady: false }, kind: 'pending', seconds: 7 },
    { title: 'the node does not report', changes: { isSilent: true }, kind: 'pending', seconds: 9 },
    {
      title: 'the node program is busy',
      changes: { answer: { result: 'busy', proven: false } },
      kind: 'pending',
      seconds: 15,
    },
    {
      title: 'the node program failed',
      changes: { answer: { result: 'failed', proven: false, reason: 'no xt_comment' } },
      kind: 'failed',
      seconds: 60,
    },
    {
      title: 'the node program refused the rule set',
      changes: { answer: { result: 'refused', proven: false } },
      kind: 'failed',
      seconds: undefined,
    },
    {
      title: 'the probe failed',
      changes: { answer: { proven: false, reason: 'probe' } },
      kind: 'failed',
      seconds: 60,
    },
    {
      title: 'the node has a newer rule set than the pushed one',
      changes: { answer: { result: 'refused', proven: false, generation: 60_000 } },
      kind: 'pending',
      seconds: 5,
    },
    {
      title: 'the node has a rule set from the future',
      changes: { answer: { result: 'refused', proven: false, generation: 9e12 } },
      kind: 'failed',
      seconds: undefined,
    },
    {
      title: 'the node reports another rule set',
      changes: { answer: { id: 'f'.repeat(64) } },
      kind: 'pending',
      seconds: 5,
    },
  ])('$title', async ({ changes, kind, seconds }) => {
    const { run } = setUp(machine('i-1', changes));
    const [outcome] = await run([refOf('i-1')]);
    expect(outcome?.kind).toBe(kind);
    expect(outcome && retryAfterSeconds(outcome)).toBe(seconds);
  });

  test('the cloud does not list the instance yet', async () => {
    const { run } = setUp();
    expect(await run([refOf('i-1')])).toMatchObject([
      { node: refOf('i-1'), kind: 'pending', retryAfterSeconds: 10 },
    ]);
  });
});

test('a reconciliation with older data never overwrites the rules of a reconciliation with newer data', async () => {
  const { cloud, run, inForce } = setUp(machine('i-1'));
  const known = cloud.machines.get('aws:i-1');
  if (!known) throw new Error('no node');
  const original = cloud.routes.getNetworkContexts.bind(cloud.routes);
  let releaseStaleRun: () => void = () => undefined;
  const held = new Promise<void>((resolve) => (releaseStaleRun = resolve));
  cloud.routes.getNetworkContexts = async (...args) => {
    const seen = await original(...args);
    cloud.routes.getNetworkContexts = original;
    await held;
    return seen;
  };
  const staleRun = run([refOf('i-1')]);
  await Promise.resolve();
  known.networkContext = { ...networkContext, routes: [routeTo('10.1.0.0/16')] };
  await run([refOf('i-1')]);
  releaseStaleRun();
  expect(await staleRun).toMatchObject([{ kind: 'pending' }]);
  expect(inForce('i-1')).toContain('masquerade 10.1.0.0/16 pcx-1');
});

test.each(['busy', 'refused', 'failed'] as const)(
  'a node that was %s keeps its recorded status',
  async (result) => {
    const { cloud, run } = setUp(machine('i-1'));
    await run([refOf('i-1')]);
    const known = cloud.machines.get('aws:i-1');
    if (known)
      Object.assign(known, {
        networkContext: { ...networkContext, routes: [routeTo('10.1.0.0/16')] },
        answer: { result, proven: false },
      });
    const before = known?.node.recorded?.ruleSetId;
    await run([refOf('i-1')]);
    expect(known?.node.recorded).toEqual({ ruleSetId: before, isProven: false, routes: 1 });
  },
);

describe('an error from the channel', () => {
  test('makes each node fail with a retry if the error is retryable', async () => {
    const { cloud, run } = setUp(machine('i-1'), machine('i-2'));
    cloud.pushError = new RetryableError('throttled', 'slow down', { advice: 'wait', retryAfterSeconds: 10 });
    const outcomes = await run({ clusters: ['shop'] });
    expect(outcomes).toMatchObject([{ kind: 'failed' }, { kind: 'failed' }]);
    expect(outcomes.map(retryAfterSeconds)).toEqual([10, 10]);
  });

  test('makes the reconciliation fail after every node was logged, if the error is permanent', async () => {
    const { cloud, run, logged } = setUp(machine('i-1'), machine('i-2', {}, ['other']));
    cloud.pushError = new PermanentError('access-denied', 'no', { advice: 'allow it' });
    await expect(run([refOf('i-1'), refOf('i-2')])).rejects.toBe(cloud.pushError);
    expect(logged).toEqual(['NodeSkipped', 'NodeFailed', 'ReconcileFailed']);
  });
});

/** Random changes: routes change, agents go online and offline, and events are reordered, duplicated or lost. */
const anyChange = fc.oneof(
  fc.record({
    node: fc.nat(4),
    // At least two of the three routes remain, because a plan with only one of them would be held.
    routes: fc.subarray(['10.0.0.0/16', '10.1.0.0/16', '10.7.0.0/24'], { minLength: 2 }),
  }),
  fc.record({ node: fc.nat(4), isReady: fc.boolean() }),
  fc.record({ node: fc.nat(4), isSilent: fc.boolean() }),
  fc.record({ events: fc.array(fc.nat(4), { maxLength: 8 }) }),
);

test('after any sequence of events, a sweep gives each node the rule set that fits its current network', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(anyChange, { maxLength: 20 }), async (changes) => {
      const { cloud, run, inForce } = setUp(...[0, 1, 2, 3, 4].map((index) => machine(`i-${index}`)));
      for (const change of changes) {
        if ('events' in change) await run(change.events.map((index) => refOf(`i-${index}`)));
        else {
          const hit = cloud.machines.get(`aws:i-${change.node}`);
          if (hit && 'routes' in change)
            hit.networkContext = { ...networkContext, routes: change.routes.map(routeTo) };
          if (hit && 'isSilent' in change) hit.isSilent = change.isSilent;
          if (hit && 'isReady' in change) hit.isReady = change.isReady;
        }
      }
      for (const each of cloud.machines.values()) Object.assign(each, { isReady: true, isSilent: false });
      await run({ clusters: ['*'] });
      const pushes = cloud.pushed.length;
      await run({ clusters: ['*'] });
      expect(cloud.pushed).toHaveLength(pushes);
      for (const [key, { networkContext: now }] of cloud.machines) {
        const destinations = inForce(key.slice(4))?.filter((line) => line.startsWith('masquerade'));
        const wanted = now.routes.map(({ destination }) => destination);
        const merged = wanted.includes('10.0.0.0/16') && wanted.includes('10.1.0.0/16');
        const expected = merged ? ['10.0.0.0/15', ...wanted.filter((cidr) => cidr.endsWith('/24'))] : wanted;
        expect(destinations).toEqual(expected.map((cidr) => `masquerade ${cidr} pcx-1`));
      }
    }),
  );
});
