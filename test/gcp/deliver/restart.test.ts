import { describe, expect, test } from '@jest/globals';
import { printRuleSet } from '../../../shared/core/model/rule-set';
import { addVm, callsOf } from '../../lab/gcp/state';
import { assigned, CloudLab, inSeconds, minutesAgo, pushedBefore, report, ruleSet } from '../cloud-lab';

const lab = new CloudLab();
const hoursAgo = (hours: number) => minutesAgo(60 * hours);
const secondsOf = (date: Date) => Math.floor(date.getTime() / 1_000);

describe('the restart of a node', () => {
  test('resets only a running instance', async () => {
    const running = addVm(lab.state, { lastStartTimestamp: '2026-11-21T12:00:00Z' });
    const stopped = addVm(lab.state);
    await lab.cloud.channel.restart?.(await lab.nodeOf(running), inSeconds(10));
    expect(Date.parse(running.lastStartTimestamp ?? '')).toBeGreaterThan(Date.now() - 10_000);
    stopped.status = 'TERMINATED';
    await expect(lab.cloud.channel.restart?.(await lab.nodeOf(stopped), inSeconds(10))).rejects.toThrow(
      'is TERMINATED, so it is not restarted',
    );
  });

  test('waits again for its operation when a wait ends early', async () => {
    Object.assign(lab.state, { operationMs: 900, maxOperationWaitMs: 0 });
    const vm = addVm(lab.state, { lastStartTimestamp: '2026-11-21T12:00:00Z' });
    await lab.cloud.channel.restart?.(await lab.nodeOf(vm), inSeconds(10));
    expect(callsOf(lab.state, 'compute.zoneOperations.wait')).toBeLessThanOrEqual(6);
  });

  test('does not wait past the deadline', async () => {
    Object.assign(lab.state, { operationMs: 60_000, maxOperationWaitMs: 0 });
    const vm = addVm(lab.state, { lastStartTimestamp: '2026-11-21T12:00:00Z' });
    await expect(lab.cloud.channel.restart?.(await lab.nodeOf(vm), inSeconds(5))).rejects.toMatchObject({
      code: 'operation-unfinished',
    });
    expect(callsOf(lab.state, 'compute.zoneOperations.wait')).toBeLessThanOrEqual(6);
  });

  test('leaves the node in the state needs-reboot when access is denied', async () => {
    const given = ruleSet(hoursAgo(1).getTime());
    const vm = addVm(lab.state, {
      lastStartTimestamp: minutesAgo(61).toISOString(),
      metadata: assigned(printRuleSet(given)),
    });
    lab.state.injectedErrors.push({ method: 'compute.instances.reset', kind: 'permission', times: 1 });
    await expect(lab.cloud.channel.restart?.(await lab.nodeOf(vm), inSeconds(10))).rejects.toMatchObject({
      code: 'permission-denied',
      advice: expect.stringContaining('role restart') as unknown,
    });
    expect(vm.labels['peermasq-status']).toMatch(/^needs-reboot-/);
    const pushed = pushedBefore(await lab.nodeOf(vm), given);
    expect(await lab.collectProofs([pushed], 0.2)).toMatchObject([{ restart: 'advised' }]);
  });

  test('is not repeated for the same rule set', async () => {
    const given = ruleSet(hoursAgo(2).getTime());
    const vm = addVm(lab.state, {
      lastStartTimestamp: hoursAgo(3).toISOString(),
      metadata: assigned(printRuleSet(given)),
      labels: { 'peermasq-status': `restarted-${secondsOf(hoursAgo(1))}` },
    });
    const node = await lab.nodeOf(vm);
    expect(await lab.collectProofs([pushedBefore(node, given)], 0.2)).toMatchObject([
      { restart: 'already-tried' },
    ]);
    await lab.cloud.channel.writeRecords([{ node, state: 'needs-reboot' }], inSeconds(10));
    expect(vm.labels['peermasq-status']).toMatch(/^restarted-/);
  });

  test.each([
    ['changes', false],
    ['keeps', true],
  ])('requires a new report when Compute Engine %s the time of the last start', async (_, keepsStart) => {
    lab.state.keepsStartOnReset = keepsStart;
    const given = ruleSet(hoursAgo(1).getTime());
    const vm = addVm(lab.state, {
      lastStartTimestamp: hoursAgo(2).toISOString(),
      metadata: [
        { key: 'peermasq-ruleset', value: printRuleSet(given) },
        { key: 'enable-guest-attributes', value: 'TRUE' },
      ],
    });
    const readResult = async () => {
      const pushed = pushedBefore(await lab.nodeOf(vm), given);
      return (await lab.collectProofs([pushed], 0.3))[0]?.result;
    };
    expect(await readResult()).toBe('no-watcher');
    await lab.cloud.channel.restart?.(await lab.nodeOf(vm), inSeconds(10));
    expect(await readResult()).toBe('no-report');
    report(vm, given, { booted: secondsOf(hoursAgo(2)) });
    expect(await readResult()).toBe('no-report');
    report(vm, given, { booted: secondsOf(new Date()) });
    expect(await readResult()).toBe('reported');
  });
});
