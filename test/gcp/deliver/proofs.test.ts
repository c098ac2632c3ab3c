import { describe, expect, test } from '@jest/globals';
import type { Report } from '../../../shared/core/model/report';
import { printRuleSet, ruleSetId } from '../../../shared/core/model/rule-set';
import { addVm } from '../../lab/gcp/state';
import { assigned, CloudLab, minutesAgo, project, pushedBefore, report, ruleSet } from '../cloud-lab';

const lab = new CloudLab();

describe('the proof of a node', () => {
  test('is read as soon as the node has written its report', async () => {
    const vm = addVm(lab.state);
    const pending = lab.collectProofs([await lab.pushed(vm)], 10);
    report(vm, ruleSet(1));
    expect(await pending).toMatchObject([{ result: 'reported', report: { proven: true } }]);
  });

  test("is not a report from before the node's last start", async () => {
    const vm = addVm(lab.state);
    await lab.pushed(vm);
    report(vm, ruleSet(1));
    vm.status = 'STAGING';
    expect(await lab.collectProofs([await lab.pushed(vm)], 0.5)).toMatchObject([
      { result: 'no-report', reason: 'no report since its last start' },
    ]);
  });

  test("is a report about a rule set that was assigned after the start, regardless of the node's boot time", async () => {
    const started = minutesAgo(10);
    const given = ruleSet(started.getTime() + 1_000);
    const vm = addVm(lab.state, {
      lastStartTimestamp: started.toISOString(),
      metadata: assigned(printRuleSet(given)),
    });
    report(vm, given, { booted: 1_700_000_000 });
    const pushed = pushedBefore(await lab.nodeOf(vm), given);
    expect(await lab.collectProofs([pushed], 1)).toMatchObject([{ result: 'reported' }]);
  });

  test('is missing with a reason that includes the last report', async () => {
    const silent = addVm(lab.state);
    const other = addVm(lab.state);
    const broken = addVm(lab.state);
    report(other, undefined, { id: '0'.repeat(64), generation: 1 });
    broken.guestAttributes['peermasq/status'] = 'garbage';
    const pushed = await Promise.all([silent, other, broken].map((vm) => lab.pushed(vm)));
    const proofs = await lab.collectProofs(pushed, 1);
    expect(proofs.map((proof) => proof.result === 'no-report' && proof.reason)).toEqual([
      'no report yet',
      expect.stringContaining('its last report is about 0000'),
      expect.stringContaining('not a peermasq report'),
    ]);
  });

  test('is missing if an organisation policy forbids guest attributes, and the reason names the policy', async () => {
    const vm = addVm(lab.state);
    const state = lab.state.projects[project];
    Object.assign(state ?? {}, { isGuestAttributesPolicyOn: true });
    const proofs = await lab.collectProofs([await lab.pushed(vm)], 2);
    Object.assign(state ?? {}, { isGuestAttributesPolicyOn: false });
    expect(proofs).toMatchObject([
      { result: 'no-report', reason: expect.stringContaining('Constraint') as unknown },
    ]);
  });
});

describe('a missing watcher', () => {
  interface Given {
    readonly startedMinutesAgo: number;
    readonly assignedMinutesAgo: number;
    readonly lastReport?: Partial<Report>;
  }

  async function readProof({ startedMinutesAgo, assignedMinutesAgo, lastReport }: Given) {
    const started = minutesAgo(startedMinutesAgo);
    const given = ruleSet(minutesAgo(assignedMinutesAgo).getTime());
    const vm = addVm(lab.state, {
      lastStartTimestamp: started.toISOString(),
      metadata: [
        { key: 'peermasq-ruleset', value: printRuleSet(given) },
        { key: 'enable-guest-attributes', value: 'TRUE' },
      ],
    });
    const booted = Math.floor(started.getTime() / 1_000);
    if (lastReport) report(vm, ruleSet(1, '10.9.0.0/16'), { booted, ...lastReport });
    const [proof] = await lab.collectProofs([pushedBefore(await lab.nodeOf(vm), given)], 0.2);
    return proof;
  }

  const startedFirst = { startedMinutesAgo: 11, assignedMinutesAgo: 1 };
  const beforeStart = 1_700_000_000;

  test.each<[string, Given, string]>([
    ['started before its rule set was assigned', startedFirst, 'advised'],
    ['started too recently to be restarted', { startedMinutesAgo: 6, assignedMinutesAgo: 1 }, 'unsafe'],
    [
      'last reported before its last start',
      { ...startedFirst, lastReport: { booted: beforeStart, proven: false } },
      'advised',
    ],
    [
      'last reported proven rules, which a restart would remove',
      { ...startedFirst, lastReport: { booted: beforeStart } },
      'unsafe',
    ],
  ])('is detected on a node that %s', async (_, given, restart) => {
    expect(await readProof(given)).toMatchObject({
      result: 'no-watcher',
      restart,
      reason:
        'The node was started before its rule set was assigned, and no watcher runs on it. The node applies the rule set when it next boots.',
    });
  });

  test.each([
    ['proven, and no restart of the node is advised', true, 'unsafe'],
    ['not proven, and a restart of the node is advised', false, 'advised'],
  ])(
    "is detected when the watcher has stopped, and the node's earlier rules are %s",
    async (_, proven, restart) => {
      const given = { startedMinutesAgo: 20, assignedMinutesAgo: 6, lastReport: { proven } };
      expect(await readProof(given)).toMatchObject({
        result: 'no-watcher',
        restart,
        reason: expect.stringMatching(
          /^The watcher on the node no longer watches the node's metadata \(its last report is about /,
        ),
      });
    },
  );

  test.each<[string, Given]>([
    ['has just started', { startedMinutesAgo: 1, assignedMinutesAgo: 0.8 }],
    ['has a startup script that takes minutes', { startedMinutesAgo: 4, assignedMinutesAgo: 3.9 }],
    ['was assigned its rule set just now', { startedMinutesAgo: 10, assignedMinutesAgo: 0.1 }],
    ['started with its rule set and does not report', { startedMinutesAgo: 5, assignedMinutesAgo: 6 }],
    [
      'started with its rule set and cannot apply it',
      {
        startedMinutesAgo: 15,
        assignedMinutesAgo: 20,
        lastReport: { result: 'failed', proven: false, id: null },
      },
    ],
    [
      'has a watcher that has not applied the rule set yet',
      { startedMinutesAgo: 20, assignedMinutesAgo: 1, lastReport: {} },
    ],
  ])('is not assumed on a node that %s', async (_, given) => {
    expect(await readProof(given)).toMatchObject({ result: 'no-report' });
  });

  test("is not assumed if the node's label proves the rule set but the node's report is missing", async () => {
    const given = ruleSet(minutesAgo(10).getTime());
    const secondsOfProof = Math.floor(minutesAgo(5).getTime() / 1_000);
    const vm = addVm(lab.state, {
      lastStartTimestamp: minutesAgo(20).toISOString(),
      metadata: assigned(printRuleSet(given)),
      labels: { 'peermasq-status': `proven-${ruleSetId(given).slice(0, 12)}-${secondsOfProof}-f2` },
    });
    const pushed = pushedBefore(await lab.nodeOf(vm), given);
    expect(await lab.collectProofs([pushed], 0.2)).toMatchObject([{ result: 'no-report' }]);
  });
});
