import { describe, expect, test } from '@jest/globals';
import type { AwsNode } from '../../../shared/aws/discover/nodes';
import type { PushRecord } from '../../../shared/core/cloud';
import { ruleSetId } from '../../../shared/core/model/rule-set';
import { soon, subnetId } from '../cloud';
import {
  addNodes,
  fillTags,
  idsOf,
  lab,
  otherRuleSet,
  push,
  refresh,
  refOf,
  resultsById,
  ruleSet,
} from './channel-lab';

const id = ruleSetId(ruleSet);

const writeRecords = (nodes: readonly AwsNode[], changes: Partial<PushRecord> = {}) =>
  lab.cloud.channel.writeRecords(
    nodes.map((node) => ({ ruleSetId: id, state: 'proven', routes: 3, ...changes, node })),
    soon(),
  );

const readRecorded = async (nodes: readonly AwsNode[]) =>
  (await refresh(nodes)).map(({ recorded }) => recorded);

const errorCodes = (failures: Awaited<ReturnType<typeof writeRecords>>) =>
  Object.fromEntries(failures.map(({ node, error }) => [node.ref.id, error.code]));

describe('the recorded outcome of a node', () => {
  test.each(['proven', 'failed'] as const)('is found by the next lookup: %s', async (state) => {
    const nodes = await addNodes(2);
    await writeRecords(nodes, { state });
    const recorded = { ruleSetId: id, isProven: state === 'proven', routes: 3, at: expect.any(Date) };
    expect(await readRecorded(nodes)).toEqual([recorded, recorded]);
  });

  test('takes a single call for 1,000 nodes with the same rule set', async () => {
    await writeRecords(await addNodes(1_000));
    expect(lab.aws.count('CreateTags')).toBe(1);
  });

  test('keeps the rule set tag when it is a failure that names no rule set', async () => {
    const nodes = await addNodes(1);
    await writeRecords(nodes);
    const records = nodes.map((node) => ({ node, state: 'failed' as const }));
    await lab.cloud.channel.writeRecords(records, soon());
    expect(await readRecorded(nodes)).toEqual([{ ruleSetId: id, isProven: false, at: expect.any(Date) }]);
  });

  test('is invalid after a push, even if the node never reports', async () => {
    const nodes = await addNodes(2);
    await writeRecords(nodes);
    await push(await refresh(nodes), otherRuleSet);
    const outdated = { ruleSetId: id, isProven: false, routes: 3, at: expect.any(Date) };
    expect(await readRecorded(nodes)).toEqual([outdated, outdated]);
    expect(lab.aws.count('CreateTags')).toBe(2);
  });

  test('prevents a push to its node when it is a proof and cannot be invalidated before the push', async () => {
    const [known, fresh] = await addNodes(2);
    if (!known || !fresh) throw new Error('no nodes');
    await writeRecords([known]);
    lab.aws.deny('ec2:CreateTags');
    const results = await push([...(await refresh([known])), fresh]);
    expect(resultsById(results)).toEqual({ [known.ref.id]: 'failed', [fresh.ref.id]: 'pushed' });
    expect(results).toContainEqual(
      expect.objectContaining({ error: expect.objectContaining({ code: 'access-denied' }) }),
    );
  });

  test('is not a proof when it was copied from another instance, but names the rule set that may be in force', async () => {
    const nodes = await addNodes(1);
    await writeRecords(nodes);
    const tags = lab.aws.state.instances.get(nodes[0]?.ref.id ?? '')?.tags ?? new Map<string, string>();
    const copy = lab.aws.addNode({ subnetId, tags: Object.fromEntries(tags) });
    const instance = lab.aws.state.instances.get(copy);
    if (instance) instance.launchTime = new Date(Date.now() + 1_000);
    const [node] = await lab.cloud.nodes.get([refOf(copy)], soon());
    expect(node?.recorded).toEqual({ ruleSetId: id, isProven: false, routes: 3, at: expect.any(Date) });
  });
});

describe('an outcome that cannot be recorded', () => {
  test('is reported for its node, and the outcomes of the other nodes are recorded', async () => {
    const nodes = await addNodes(30);
    const [gone, full, alsoFull] = [3, 17, 29].map((i) => nodes[i]);
    if (!gone || !full || !alsoFull) throw new Error('no nodes');
    lab.aws.state.instances.delete(gone.ref.id);
    for (const node of [full, alsoFull]) fillTags(node);
    expect(errorCodes(await writeRecords(nodes))).toEqual({
      [gone.ref.id]: 'InvalidInstanceID.NotFound',
      [full.ref.id]: 'TagLimitExceeded',
      [alsoFull.ref.id]: 'TagLimitExceeded',
    });
    const others = nodes.filter((node) => ![gone, full, alsoFull].includes(node));
    expect(others).toHaveLength(27);
    expect(await readRecorded(others)).toEqual(
      others.map(() => ({ ruleSetId: id, isProven: true, routes: 3, at: expect.any(Date) })),
    );
  });

  test('is found among 1,000 outcomes with about 20 calls', async () => {
    const nodes = await addNodes(1_000);
    const [, , full] = nodes;
    if (!full) throw new Error('no nodes');
    fillTags(full);
    expect(errorCodes(await writeRecords(nodes))).toEqual({ [full.ref.id]: 'TagLimitExceeded' });
    expect(lab.aws.count('CreateTags')).toBeLessThan(25);
  });

  test('is not retried node by node when access is denied', async () => {
    const nodes = await addNodes(4);
    lab.aws.deny('ec2:CreateTags');
    const codes = Object.fromEntries(idsOf(nodes).map((nodeId) => [nodeId, 'access-denied']));
    expect(errorCodes(await writeRecords(nodes))).toEqual(codes);
    expect(lab.aws.count('CreateTags')).toBe(1);
  });

  test('is not retried node by node when calls are throttled', async () => {
    const nodes = await addNodes(4);
    lab.aws.throttle('CreateTags', 99);
    const codes = Object.fromEntries(idsOf(nodes).map((nodeId) => [nodeId, 'throttled']));
    expect(errorCodes(await writeRecords(nodes))).toEqual(codes);
    // The SDK itself makes up to three attempts.
    expect(lab.aws.count('CreateTags')).toBe(3);
  });
});
