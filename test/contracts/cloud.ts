import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { parseConfig } from '../../shared/core/model/config';
import { PermanentError, RetryableError } from '../../shared/core/model/errors';
import { nodeKey, type NodeRef } from '../../shared/core/model/node';
import type { Outcome } from '../../shared/core/reconcile/outcome';
import type { Cloud, Inspection, Log } from '../../shared/core/cloud';
import { reconcileOrThrow, type Selection } from '../../shared/core/reconcile/reconcile';
import { parseRuleSet } from '../../shared/core/model/rule-set';
import { describeKernel } from '../lab/kernel';
import type { Machine } from '../lab/machine';
import { storedRuleSet } from './machines';

export interface NewNode {
  readonly cluster?: string;
  /** What its subnet routes over an active peering. */
  readonly routes?: readonly string[];
  /** Its agent is online, it has booted; false until `makeReady`. */
  readonly isReady?: boolean;
}

/** A local cloud with nodes that are real machines, driven the same way whichever cloud it is. */
export interface CloudLab {
  /** The adapters under test, on the official clients. */
  readonly cloud: Cloud;
  readonly addNode: (node: NewNode) => Promise<NodeRef>;
  readonly makeReady: (ref: NodeRef) => Promise<void>;
  readonly terminate: (ref: NodeRef) => void;
  /** A reference of the right shape to a node that never was. */
  readonly nonexistent: NodeRef;
  readonly inspection: Inspection;
  /** What begins the command that shows a node's rules by hand. */
  readonly manualCommand: (ref: NodeRef) => string;
  readonly machineOf: (ref: NodeRef) => Machine | undefined;
  /** Every further call that looks nodes up, or that pushes, fails so. */
  readonly failWith: (fault: 'forbidden' | 'unavailable', when: 'discovering' | 'pushing') => void;
  /** Calls that changed something in the cloud. */
  readonly mutatingCalls: () => number;
  readonly close: () => Promise<void>;
}

export const config = parseConfig('clusters: {shop: {pods: [10.244.0.0/16], masquerade: [peerings]}}');
export const routes = ['10.193.0.0/16'];
export const silentLog: Log = { info: () => undefined, warn: () => undefined, error: () => undefined };

/** What both clouds must do, whatever their APIs look like. */
export function describeCloud(name: string, open: () => Promise<CloudLab>): void {
  describeKernel(`${name} as a cloud`, undefined, () => {
    let lab: CloudLab;
    beforeEach(async () => {
      lab = await open();
    });
    afterEach(() => lab.close());

    const run = (selection: Selection, seconds = 10, isDryRun = false): Promise<readonly Outcome[]> =>
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

    test('a node that joins has the routes of its subnet masqueraded, proven by itself; its event again changes nothing', async () => {
      const ref = await lab.addNode({ cluster: 'shop', routes });
      expect(await run([ref])).toMatchObject([
        { kind: 'proven', node: ref, cluster: 'shop', report: { proven: true } },
      ]);
      expect(await destinationsOn(ref)).toEqual(routes);
      // The same event again changes nothing, neither in the cloud nor on the node.
      const [calls, stored] = [lab.mutatingCalls(), await storedRuleSet(lab.machineOf(ref))];
      expect(await run([ref])).toMatchObject([{ kind: 'proven' }]);
      expect(lab.mutatingCalls()).toBe(calls);
      expect(await storedRuleSet(lab.machineOf(ref))).toBe(stored);
    });

    test('a dry run plans and changes nothing', async () => {
      const ref = await lab.addNode({ cluster: 'shop', routes });
      expect(await run([ref], 10, true)).toMatchObject([{ kind: 'planned', isChange: true }]);
      expect(lab.mutatingCalls()).toBe(0);
      expect(await destinationsOn(ref)).toBeUndefined();
    });

    test('a backfill finds the nodes of a cluster, and only those', async () => {
      const mine = await lab.addNode({ cluster: 'shop', routes });
      await lab.addNode({ cluster: 'other', routes });
      await lab.addNode({ routes });
      const outcomes = await run({ clusters: ['shop'] });
      expect(outcomes.map(({ node }) => nodeKey(node))).toEqual([nodeKey(mine)]);
      expect(outcomes).toMatchObject([{ kind: 'proven' }]);
    });

    test('a node that is not ready yet is looked at again, and is proven when it is', async () => {
      const ref = await lab.addNode({ cluster: 'shop', routes, isReady: false });
      const [outcome] = await run([ref], 2);
      expect(outcome).toMatchObject({ kind: 'pending', node: ref });
      await lab.makeReady(ref);
      expect(await run([ref])).toMatchObject([{ kind: 'proven' }]);
      expect(await destinationsOn(ref)).toEqual(routes);
    });

    test.each(['proven', 'failed'] as const)(
      'a node whose last push ended as %s says so, and when',
      async (state) => {
        const ref = await lab.addNode({ cluster: 'shop', routes });
        const deadline = Date.now() + 10_000;
        const look = async () => [
          ...(await lab.cloud.nodes.get([ref], deadline)),
          ...(await lab.cloud.nodes.list(['shop'], deadline)),
        ];
        const [node] = await look();
        if (!node) throw new Error('There is no node');
        expect(node.lastPush).toBeUndefined();
        const before = Date.now();
        const end = { node, state, ...(state === 'proven' && { ruleSetId: 'f'.repeat(64) }) };
        expect(await lab.cloud.channel.writeRecords([end], deadline)).toEqual([]);
        for (const { lastPush } of await look()) {
          expect(lastPush?.state).toBe(state);
          // Some clouds write whole seconds.
          expect(lastPush?.at.getTime()).toBeGreaterThan(before - 1_000);
        }
      },
    );

    test('nodes that are gone, unknown or of no cluster stop nobody', async () => {
      const [ref, gone, stray] = [
        await lab.addNode({ cluster: 'shop', routes }),
        await lab.addNode({ cluster: 'shop', routes }),
        await lab.addNode({ routes }),
      ];
      lab.terminate(gone);
      const outcomes = await run([gone, lab.nonexistent, stray, ref]);
      const kinds = new Map(outcomes.map(({ node, kind }) => [nodeKey(node), kind]));
      expect(kinds.get(nodeKey(ref))).toBe('proven');
      expect(kinds.get(nodeKey(stray))).toBe('skipped');
      expect(kinds.get(nodeKey(lab.nonexistent))).toBe('pending');
      expect(kinds.get(nodeKey(gone))).not.toBe('proven');
    });

    test('each node gets what its own subnet routes', async () => {
      const one = await lab.addNode({ cluster: 'shop', routes: ['10.193.0.0/16', '10.194.0.0/16'] });
      const other = await lab.addNode({ cluster: 'shop', routes: ['10.64.0.0/16'] });
      await run([one, other]);
      expect(await destinationsOn(one)).toEqual(['10.193.0.0/16', '10.194.0.0/16']);
      expect(await destinationsOn(other)).toEqual(['10.64.0.0/16']);
    });

    test('a missing permission is permanent, and its advice names what to allow', async () => {
      const ref = await lab.addNode({ cluster: 'shop', routes });
      lab.failWith('forbidden', 'discovering');
      const failure = await run([ref]).catch((error: unknown) => error);
      expect(failure).toBeInstanceOf(PermanentError);
      expect((failure as PermanentError).advice).toMatch(/(ec2:DescribeInstances|compute\.instances\.get)/);
    });

    test('a service that is unavailable is retryable', async () => {
      const ref = await lab.addNode({ cluster: 'shop', routes });
      lab.failWith('unavailable', 'discovering');
      await expect(run([ref], 3)).rejects.toBeInstanceOf(RetryableError);
    });

    test('what fails while pushing is told of the node or of all, and never acknowledged as done', async () => {
      const ref = await lab.addNode({ cluster: 'shop', routes });
      lab.failWith('forbidden', 'pushing');
      const outcomes = await run([ref]).catch((error: unknown) => [{ kind: 'failed', error }]);
      expect(outcomes).toMatchObject([{ kind: 'failed', error: expect.any(PermanentError) }]);
      expect(await destinationsOn(ref)).toBeUndefined();
    });
  });
}
