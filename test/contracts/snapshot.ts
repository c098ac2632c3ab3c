import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { RetryableError } from '../../shared/core/model/errors';
import { nodeKey, type Node, type NodeRef } from '../../shared/core/model/node';
import { reconcileOrThrow } from '../../shared/core/reconcile/reconcile';
import { printRuleSet } from '../../shared/core/model/rule-set';
import { describeKernel } from '../lab/kernel';
import { config, routes, silentLog, type CloudLab } from './cloud';
import { storedRuleSet } from './machines';

/** Tests that both clouds can read the rules of a node. */
export function describeInspection(name: string, open: () => Promise<CloudLab>): void {
  describeKernel(`${name}, inspected`, undefined, () => {
    let lab: CloudLab;
    beforeEach(async () => {
      lab = await open();
    });
    afterEach(() => lab.close());

    const deadline = (seconds = 30) => Date.now() + seconds * 1_000;
    const push = (ref: NodeRef, seconds = 10) =>
      reconcileOrThrow(
        [ref],
        { cloud: lab.cloud, config, clock: Date, log: silentLog },
        { deadline: deadline(seconds), isDryRun: false },
      );
    const nodeOf = async (ref: NodeRef): Promise<Node> => {
      const [node] = await lab.cloud.nodes.get([ref], deadline());
      if (!node) throw new Error(`There is no node ${nodeKey(ref)}`);
      return node;
    };
    const snapshotOf = async (ref: NodeRef, seconds?: number) =>
      lab.inspection.takeSnapshot(await nodeOf(ref), deadline(seconds));
    const run = async (ref: NodeRef, argv: readonly string[], stdin = '') => {
      const finished = await lab.machineOf(ref)?.run(argv, { stdin });
      expect(finished).toMatchObject({ status: 0, stderr: '' });
    };

    test('a snapshot shows the current rules and the rule set from which they were computed', async () => {
      const ref = await lab.addNode({ cluster: 'shop', routes });
      await push(ref);
      const text = await snapshotOf(ref);
      expect(text).toContain('# peermasq: iptables-nft-save\n');
      expect(text).toMatch(/^-A PEERMASQ -s 10\.244\.0\.0\/16 -d 10\.193\.0\.0\/16 .*-j MASQUERADE/m);
      expect(text).toContain('#   masquerade 10.193.0.0/16 ');
      await run(ref, ['iptables-nft', '-t', 'nat', '-D', 'POSTROUTING', '1']);
      expect(await snapshotOf(ref)).not.toContain('-j PEERMASQ');
      await run(ref, ['iptables-nft', '-t', 'nat', '-A', 'POSTROUTING', '-j', 'PEERMASQ']);
      expect(await snapshotOf(ref)).toContain('-A POSTROUTING -j PEERMASQ');
    });

    test('a snapshot that arrives in many parts is complete', async () => {
      const ref = await lab.addNode({ cluster: 'shop', routes });
      await push(ref);
      const noise = () => Math.random().toString(36).slice(2).padEnd(12, 'x');
      const rules = Array.from(
        { length: 2_000 },
        (_, i) => `-A OTHERS -d 10.${i >> 8}.${i & 255}.0/24 -m comment --comment ${noise()} -j RETURN`,
      );
      const transaction = ['*nat', ':OTHERS - [0:0]', ...rules, 'COMMIT', ''].join('\n');
      await run(ref, ['iptables-nft-restore', '--noflush'], transaction);
      const text = await snapshotOf(ref);
      expect(text.match(/^-A OTHERS .*$/gm)?.map((rule) => rule.replaceAll('"', ''))).toEqual(rules);
    });

    test('the error for a node that does not respond contains the command for taking a snapshot manually', async () => {
      const ref = await lab.addNode({ cluster: 'shop', routes, isReady: false });
      await push(ref, 2);
      const failure = await snapshotOf(ref, 13).catch((error: unknown) => error);
      expect(failure).toBeInstanceOf(RetryableError);
      expect(failure).toMatchObject({ code: 'no-answer' });
      const { advice } = failure as RetryableError;
      expect(advice).toContain(lab.manualCommand(ref));
      expect(advice).toMatch(
        /peermasq\.sh snapshot.* npx peermasq explain --rules FILE --from POD --to HOST:PORT$/,
      );
    });

    test('a snapshot can be aborted', async () => {
      const ref = await lab.addNode({ cluster: 'shop', routes });
      await push(ref);
      const reason = new Error('interrupted');
      const interrupt = new AbortController();
      const pendingSnapshot = lab.inspection.takeSnapshot(await nodeOf(ref), deadline(), interrupt.signal);
      interrupt.abort(reason);
      await expect(pendingSnapshot).rejects.toBe(reason);
    });

    test('the rule set in force is the one that was pushed last, or undefined before the first push', async () => {
      const ref = await lab.addNode({ cluster: 'shop', routes });
      const other = await lab.addNode({ cluster: 'shop', routes });
      await push(ref);
      const nodes = await lab.cloud.nodes.get([ref, other], deadline());
      const inForce = await lab.inspection.getRuleSetsInForce(nodes, deadline());
      expect([...inForce.keys()]).toEqual([nodeKey(ref)]);
      const [ruleSet] = inForce.values();
      expect(ruleSet && printRuleSet(ruleSet)).toBe(await storedRuleSet(lab.machineOf(ref)));
      // The text of a recorded rule set is unknown if that rule set was never pushed.
      const node = await nodeOf(ref);
      const recordedOnly = { ...node, recorded: { ruleSetId: 'f'.repeat(64), isProven: true } };
      expect(await lab.inspection.getRuleSetsInForce([recordedOnly], deadline())).toEqual(new Map());
    });
  });
}
