import { describe, expect, test } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseRuleSet, printRuleSet } from '../../../shared/core/model/rule-set';
import { asPubsub, insertEvent } from '../../lab/gcp/events';
import { deliverEvent } from '../../lab/gcp/function';
import { callsOf, metadataOf, setMetadata } from '../../lab/gcp/state';
import { FunctionHarness, project, report } from './harness';

const lab = new FunctionHarness('nodeJoined');

describe('the function nodeJoined', () => {
  test('fails insert events so that they are redelivered, and acknowledges them once the node is proven', async () => {
    const joined = lab.useFunction();
    const vm = lab.addBusyNode();
    expect(await deliverEvent(joined, insertEvent(vm, 'first'))).toBe(500);
    report(vm);
    expect(await deliverEvent(joined, insertEvent(vm, 'last'))).toBe(204);
    expect(joined.log.map(({ message }) => message)).toEqual(
      expect.arrayContaining(['NodeJoined', 'RuleSetPushed', 'NodePending', 'NodeProven']),
    );
    expect(joined.log).toContainEqual(
      expect.objectContaining({ message: 'NodeJoined', trigger: 'instances.insert', nodes: [vm.id] }),
    );
    expect(callsOf(lab.google.cloud, 'compute.instances.setMetadata')).toBe(1);
  });

  test('waits within one invocation until the instance in the first audit log entry becomes visible', async () => {
    const { cloud } = lab.google;
    const joined = lab.useFunction();
    const vm = lab.addBusyNode();
    cloud.vms = [];
    const delivered = deliverEvent(joined, insertEvent(vm, 'first'));
    while (callsOf(cloud, 'compute.instances.get') < 3) await sleep(50);
    expect(metadataOf(vm, 'peermasq-ruleset')).toBeUndefined();
    cloud.vms = [vm];
    while (metadataOf(vm, 'peermasq-ruleset') === undefined) await sleep(20);
    report(vm);
    expect(await delivered).toBe(204);
  });

  test("handles an event that arrives through a log sink's topic", async () => {
    const joined = lab.useFunction();
    const vm = lab.addBusyNode();
    lab.google.cloud.changes.on('change', () => {
      report(vm);
    });
    expect(await deliverEvent(joined, asPubsub(insertEvent(vm, 'first')))).toBe(204);
    expect(joined.log.map(({ message }) => message)).toContain('NodeProven');
  });

  test('acknowledges the event if the node booted before its metadata was set, and logs that the node needs a reboot', async () => {
    const joined = await lab.startDedicated({
      PEERMASQ_PROJECTS: project,
      PEERMASQ_INVOCATION_SECONDS: '12',
    });
    const vm = lab.addNode();
    const minutesAgo = (minutes: number) => new Date(Date.now() - minutes * 60_000);
    vm.lastStartTimestamp = minutesAgo(10).toISOString();
    // A rule set that was assigned recently may still be applied at boot, so these events are redelivered. On a busy
    // machine, the first invocations may time out before they assign the rule set.
    for (let attempt = 0; attempt < 4 && metadataOf(vm, 'peermasq-ruleset') === undefined; attempt += 1)
      expect(await deliverEvent(joined, insertEvent(vm, 'first'))).toBe(500);
    const ruleSet = parseRuleSet(metadataOf(vm, 'peermasq-ruleset') ?? '');
    const older = { ...ruleSet, generation: minutesAgo(1).getTime() };
    setMetadata(lab.google.cloud, vm, 'peermasq-ruleset', printRuleSet(older));
    expect(await deliverEvent(joined, insertEvent(vm, 'last'))).toBe(204);
    expect(joined.log).toContainEqual(
      expect.objectContaining({
        message: 'NodeNeedsReboot',
        severity: 'ERROR',
        node: vm.id,
        cluster: 'frontend',
      }),
    );
    expect(vm.labels['peermasq-status']).toMatch(/^needs-reboot-\d+$/);
  }, 60_000);

  test.each(['compute.instances.get', 'compute.networks.get'])(
    'acknowledges the event and logs the error if the permission %s is missing, because the sweep handles the node later',
    async (method) => {
      // Uses a separate function, because the shared function has already cached the network.
      const joined = await lab.startDedicated();
      lab.google.cloud.injectedErrors.push({ method, kind: 'permission', times: Infinity });
      expect(await deliverEvent(joined, insertEvent(lab.addNode(), 'first'))).toBe(204);
      expect(joined.log).toContainEqual(
        expect.objectContaining({
          message: 'ReconcileFailed',
          advice: expect.stringContaining(`Grant ${method} on`) as unknown,
        }),
      );
    },
  );

  test('acknowledges an event of an unsupported type, and logs the reason', async () => {
    const joined = lab.useFunction();
    const event = {
      ...insertEvent(lab.addNode(), 'first'),
      type: 'google.cloud.storage.object.v1.finalized',
    };
    expect(await deliverEvent(joined, event)).toBe(204);
    expect(joined.log).toMatchObject([
      { message: 'EventIgnored', reason: expect.stringContaining('not an audit log event') },
    ]);
    expect(lab.google.cloud.calls).toEqual([]);
  });

  test('acknowledges the event and logs the node if the node is still unproven after 30 minutes', async () => {
    const joined = lab.useFunction();
    const vm = lab.addBusyNode();
    const event = insertEvent(vm, 'first');
    const old = new Date(Date.now() - 31 * 60_000).toISOString();
    const data = { ...(event['data'] as object), timestamp: old };
    expect(await deliverEvent(joined, { ...event, time: old, data })).toBe(204);
    expect(joined.log).toContainEqual(
      expect.objectContaining({
        message: 'NodeTimedOut',
        severity: 'ERROR',
        node: vm.id,
        cluster: 'frontend',
        reason: 'The node is busy: its lock is held.',
      }),
    );
  });

  test('exits at startup if the config is invalid, and prints all errors in the config', async () => {
    const bad = 'clusters: {frontend: {pods: [10.132.0.1/14], masquerade: [peering]}}';
    await expect(lab.start(bad)).rejects.toThrow(/has 2 errors:[^]*host bits set[^]*invalid value "peering"/);
  });
});
