import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { parseConfig } from '../../shared/core/model/config';
import { PermanentError, RetryableError } from '../../shared/core/model/errors';
import { nodeKey, type NodeRef } from '../../shared/core/model/node';
import type { LastPush } from '../../shared/core/model/recorded-state';
import type { Outcome } from '../../shared/core/reconcile/outcome';
import type { Cloud, Inspection } from '../../shared/core/cloud';
import type { Log } from '../../shared/core/log';
import { definedOnly } from '../../shared/core/util/collections';
import { reconcileOrThrow, type Selection } from '../../shared/core/reconcile/reconcile';
import { parseRuleSet } from '../../shared/core/model/rule-set';
import { describeKernel } from '../lab/kernel';
import type { Machine } from '../lab/machine';
import { storedRuleSet } from './machines';

export interface NewNode {
  readonly cluster?: string;
  /** The ranges for which the node's subnet has a route over an active peering. */
  readonly routes?: readonly string[];
  /**
   * Whether the node's agent is online (AWS), or the node has booted (Google Cloud). If false, `makeReady` makes it
   * ready.
   */
  readonly isReady?: boolean;
}

/** A local cloud whose nodes are real machines. Both clouds implement this interface. */
export interface CloudLab {
  /** The adapter under test, which uses the official clients. */
  readonly cloud: Cloud;
  readonly addNode: (node: NewNode) => Promise<NodeRef>;
  readonly makeReady: (ref: NodeRef) => Promise<void>;
  readonly terminate: (ref: NodeRef) => void;
  /** A well-formed reference to a node that never existed. */
  readonly nonexistent: NodeRef;
  readonly inspection: Inspection;
  /** The first part of the command that takes a snapshot manually. */
  readonly manualCommand: (ref: NodeRef) => string;
  readonly machineOf: (ref: NodeRef) => Machine | undefined;
  /** Makes all later calls fail that discovery or pushes make. */
  readonly failWith: (failure: 'forbidden' | 'unavailable', when: 'discovering' | 'pushing') => void;
  /** Returns how many calls have changed something in the cloud so far. */
  readonly mutatingCalls: () => number;
  readonly close: () => Promise<void>;
}

export const config = parseConfig('clusters: {shop: {pods: [10.244.0.0/16], masquerade: [peerings]}}');
export const routes = ['10.193.0.0/16'];
export const silentLog: Log = { info: () => undefined, warn: () => undefined, error: () => undefined };

/** Tests the behaviour that is required of both clouds. */
export function describeCloud(name: string, open: () => Promise<CloudLab>): void {
  describeKernel(`${name} as a cloud`, undefined, () => {
    let lab: CloudLab;
    beforeEach(async () => {
      lab = await open();
    });
    afterEach(() => lab.close());

    const run = (
      selection: Selection,
      { seconds = 10, isDryRun = false }: { readonly seconds?: number; readonly isDryRun?: boolean } = {},
    ): Promise<readonly Outcome[]> =>
      reconcileOrThrow(
        selection,
        { cloud: lab.cloud, config, clock: Date, log: silentLog },
        { deadline: Date.now() + seconds * 1_000, isDryRun },
      );
    const destinationsOn = async (ref: NodeRef): Promise<string[] | undefined> => {
      const stored = await storedRuleSet(lab.machineOf(ref));
      return stored === undefined
        ? undefined
        : parseRuleSet(stored).destinations.map(({ cidr }) => cidr.text);
    };

    test("a node that joins is proven to masquerade traffic to its subnet's routes, and a repeated event changes nothing", async () => {
      const ref = await lab.addNode({ cluster: 'shop', routes });
      expect(await run([ref])).toMatchObject([
        { kind: 'proven', node: ref, cluster: 'shop', report: { proven: true } },
      ]);
      expect(await destinationsOn(ref)).toEqual(routes);
      const calls = lab.mutatingCalls();
      const stored = await storedRuleSet(lab.machineOf(ref));
      expect(await run([ref])).toMatchObject([{ kind: 'proven' }]);
      expect(lab.mutatingCalls()).toBe(calls);
      expect(await storedRuleSet(lab.machineOf(ref))).toBe(stored);
    });

    test('a dry run plans and changes nothing', async () => {
      const ref = await lab.addNode({ cluster: 'shop', routes });
      expect(await run([ref], { isDryRun: true })).toMatchObject([{ kind: 'planned', isChange: true }]);
      expect(lab.mutatingCalls()).toBe(0);
      expect(await destinationsOn(ref)).toBeUndefined();
    });

    test('a backfill reconciles the nodes of the requested cluster and no other nodes', async () => {
      const mine = await lab.addNode({ cluster: 'shop', routes });
      await lab.addNode({ cluster: 'other', routes });
      await lab.addNode({ routes });
      const outcomes = await run({ clusters: ['shop'] });
      expect(outcomes.map(({ node }) => nodeKey(node))).toEqual([nodeKey(mine)]);
      expect(outcomes).toMatchObject([{ kind: 'proven' }]);
    });

    test('a node that is not ready is pending, and becomes proven once it is ready', async () => {
      const ref = await lab.addNode({ cluster: 'shop', routes, isReady: false });
      const [outcome] = await run([ref], { seconds: 2 });
      expect(outcome).toMatchObject({ kind: 'pending', node: ref });
      await lab.makeReady(ref);
      expect(await run([ref])).toMatchObject([{ kind: 'proven' }]);
      expect(await destinationsOn(ref)).toEqual(routes);
    });

    test.each<Omit<LastPush, 'at'>>([
      { state: 'proven' },
      { state: 'failed' },
      { state: 'failed', code: 'clock-skew' },
    ])("a node's last push has the result %j and the time at which it ended", async ({ state, code }) => {
      const ref = await lab.addNode({ cluster: 'shop', routes });
      const deadline = Date.now() + 10_000;
      const read = async () => [
        ...(await lab.cloud.nodes.get([ref], deadline)),
        ...(await lab.cloud.nodes.list(['shop'], deadline)),
      ];
      const [node] = await read();
      if (!node) throw new Error('no node');
      expect(node.lastPush).toBeUndefined();
      const before = Date.now();
      const ruleSetId = state === 'proven' ? 'f'.repeat(64) : undefined;
      const record = definedOnly({ node, state, code, ruleSetId });
      expect(await lab.cloud.channel.writeRecords([record], deadline)).toEqual([]);
      for (const { lastPush } of await read()) {
        expect(lastPush).toEqual({ ...definedOnly({ state, code }), at: expect.any(Date) });
        // Google Cloud records times in whole seconds.
        expect(lastPush?.at.getTime()).toBeGreaterThan(before - 1_000);
      }
    });

    test('nodes that were deleted, are unknown or belong to no cluster do not affect the other nodes', async () => {
      const ref = await lab.addNode({ cluster: 'shop', routes });
      const gone = await lab.addNode({ cluster: 'shop', routes });
      const stray = await lab.addNode({ routes });
      lab.terminate(gone);
      const outcomes = await run([gone, lab.nonexistent, stray, ref]);
      const kinds = new Map(outcomes.map(({ node, kind }) => [nodeKey(node), kind]));
      expect(kinds.get(nodeKey(ref))).toBe('proven');
      expect(kinds.get(nodeKey(stray))).toBe('skipped');
      expect(kinds.get(nodeKey(lab.nonexistent))).toBe('pending');
      expect(kinds.get(nodeKey(gone))).not.toBe('proven');
    });

    test('each node masquerades traffic to the routes of its own subnet', async () => {
      const one = await lab.addNode({ cluster: 'shop', routes: ['10.193.0.0/16', '10.194.0.0/16'] });
      const other = await lab.addNode({ cluster: 'shop', routes: ['10.64.0.0/16'] });
      await run([one, other]);
      expect(await destinationsOn(one)).toEqual(['10.193.0.0/16', '10.194.0.0/16']);
      expect(await destinationsOn(other)).toEqual(['10.64.0.0/16']);
    });

    test('a missing permission is a permanent error, and its advice names the permission', async () => {
      const ref = await lab.addNode({ cluster: 'shop', routes });
      lab.failWith('forbidden', 'discovering');
      const failure = await run([ref]).catch((error: unknown) => error);
      expect(failure).toBeInstanceOf(PermanentError);
      expect((failure as PermanentError).advice).toMatch(/(ec2:DescribeInstances|compute\.instances\.get)/);
    });

    test('an unavailable service is a retryable error', async () => {
      const ref = await lab.addNode({ cluster: 'shop', routes });
      lab.failWith('unavailable', 'discovering');
      await expect(run([ref], { seconds: 3 })).rejects.toBeInstanceOf(RetryableError);
    });

    test('a push that fails is reported as failed', async () => {
      const ref = await lab.addNode({ cluster: 'shop', routes });
      lab.failWith('forbidden', 'pushing');
      const outcomes = await run([ref]).catch((error: unknown) => [{ kind: 'failed', error }]);
      expect(outcomes).toMatchObject([{ kind: 'failed', error: expect.any(PermanentError) }]);
      expect(await destinationsOn(ref)).toBeUndefined();
    });
  });
}
