import { beforeEach, describe, expect, test } from '@jest/globals';
import { packRuleSet, printRuleSet, ruleSetId } from '../../../shared/core/model/rule-set';
import { addVm, callsOf, type LabVm } from '../../lab/gcp/state';
import { assigned, CloudLab, gke, inSeconds, minutesAgo, report, ruleSet } from '../cloud-lab';

const lab = new CloudLab();

const proven = ruleSet(1);
const changed = ruleSet(2, '10.7.0.0/16');

const recordedOf = async (vm: LabVm) => (await lab.nodeOf(vm)).recorded;

describe('the report of a node', () => {
  test.each<[string, { inMetadata: string; status?: string }, boolean]>([
    ['proves the assigned rule set', { inMetadata: printRuleSet(proven) }, true],
    [
      'proves the assigned rule set, regardless of the generation',
      { inMetadata: printRuleSet({ ...proven, generation: 9 }) },
      true,
    ],
    ['proves a packed rule set', { inMetadata: packRuleSet(proven) }, true],
    ['proves nothing if it is about a previous rule set', { inMetadata: printRuleSet(changed) }, false],
    ['proves nothing while the node starts', { inMetadata: printRuleSet(proven), status: 'STAGING' }, false],
    [
      'proves nothing while the node is about to stop',
      { inMetadata: printRuleSet(proven), status: 'PENDING_STOP' },
      false,
    ],
  ])('%s', async (_, { inMetadata, status = 'RUNNING' }, isProven) => {
    const vm = addVm(lab.state, { status, metadata: assigned(inMetadata) });
    report(vm, proven);
    expect((await recordedOf(vm))?.isProven).toBe(isProven);
  });

  test('proves nothing if the assigned rule set is unreadable', async () => {
    const vm = addVm(lab.state, { metadata: [{ key: 'peermasq-ruleset', value: 'x' }] });
    report(vm, proven);
    expect(await recordedOf(vm)).toBeUndefined();
  });

  test.each(['', 'null', '{"result":"applied"}', '<html>', `{"id":"$(reboot)"}`])(
    'proves nothing when it is %j',
    async (status) => {
      const vm = addVm(lab.state, { metadata: assigned(printRuleSet(proven)) });
      vm.guestAttributes['peermasq/status'] = status;
      expect((await recordedOf(vm))?.isProven).toBe(false);
    },
  );

  test('is a proof if its rule set was assigned after the start, regardless of the boot time that the node reports', async () => {
    const started = minutesAgo(10);
    const given = ruleSet(started.getTime() + 1_000);
    const vm = addVm(lab.state, {
      lastStartTimestamp: started.toISOString(),
      metadata: assigned(printRuleSet(given)),
    });
    report(vm, given, { booted: 1_700_000_000 });
    expect((await recordedOf(vm))?.isProven).toBe(true);
  });

  test.each(['quota', 'unavailable'] as const)(
    'that cannot be read (%s) does not affect other nodes',
    async (kind) => {
      const metadata = assigned(printRuleSet(proven));
      const vm = addVm(lab.state, { ...gke('frontend'), metadata });
      addVm(lab.state, { ...gke('frontend'), metadata });
      lab.state.injectedErrors.push({ method: 'compute.instances.getGuestAttributes', kind, times: 5 });
      const nodes = await lab.cloud.nodes.list(['frontend'], inSeconds(20));
      expect(nodes).toHaveLength(2);
      expect(nodes.find(({ ref }) => ref.id === vm.id)?.recorded?.isProven).toBe(false);
    },
    20_000,
  );
});

test('the assigned rule set and its number of routes are read even if there is no report', async () => {
  const metadata = [
    { key: 'peermasq-ruleset', value: printRuleSet(proven) },
    { key: 'peermasq-routes', value: '7' },
  ];
  const recorded = { ruleSetId: ruleSetId(proven), isProven: false, routes: 7 };
  expect(await recordedOf(addVm(lab.state, { metadata }))).toEqual(recorded);
});

describe('the status label of a node', () => {
  const noon = new Date('2026-11-21T12:00:00Z');
  const secondsOf = (date: Date) => Math.floor(date.getTime() / 1_000);
  const label = (id = ruleSetId(proven)) => `proven-${id.slice(0, 12)}-${secondsOf(noon)}-f2`;
  const reportReads = () => callsOf(lab.state, 'compute.instances.getGuestAttributes');
  const thisMinute = () => BigInt(Math.floor(Date.now() / 60_000) % 67);

  function addLabelled(value: string, over: Partial<LabVm> = {}): LabVm {
    const vm = addVm(lab.state, { metadata: assigned(printRuleSet(proven)), ...over });
    vm.labels['peermasq-status'] = value;
    // Chooses an ID that is not verified in this minute.
    vm.id = String(67n * (10n ** 14n + BigInt(lab.state.vms.length)) + thisMinute() + 33n);
    return vm;
  }

  const withValue = (key: string, value: string) =>
    assigned(printRuleSet(proven)).map((item) => (item.key === key ? { key, value } : item));

  test('makes it unnecessary to read the report if the label proves the assigned rule set', async () => {
    const vm = addLabelled(label(), { lastStartTimestamp: '2026-11-21T11:59:59.000-00:00' });
    expect(await recordedOf(vm)).toEqual({ ruleSetId: ruleSetId(proven), isProven: true, at: noon });
    expect(reportReads()).toBe(0);
  });

  test.each<[string, string, Partial<LabVm>]>([
    ['with a proof of another rule set', label(ruleSetId(changed)), {}],
    [
      'that is older than the last assignment of the rule set',
      label(),
      { metadata: assigned(printRuleSet({ ...proven, generation: noon.getTime() + 1_000 })) },
    ],
    ["from before the node's last start", label(), { lastStartTimestamp: '2026-11-21T12:00:01.000-00:00' }],
    ['that records a failure', `failed-${secondsOf(noon)}`, {}],
    ['in another format', 'proven', {}],
    ['from an older program', label().replace('-f2', ''), {}],
    [
      'on a node with another version of the program',
      label(),
      { metadata: withValue('peermasq-program', 'echo older\n') },
    ],
    [
      'on a node whose startup script was replaced',
      label(),
      { metadata: withValue('startup-script', 'echo theirs\n') },
    ],
  ])('%s proves nothing, and the report is read', async (_, value, over) => {
    expect((await recordedOf(addLabelled(value, over)))?.isProven).toBe(false);
    expect(reportReads()).toBe(1);
  });

  test('is checked against the report for 1 of 67 proven nodes each minute', async () => {
    const vm = addLabelled(label());
    vm.id = String(67n * 10n ** 15n + thisMinute());
    const first = await recordedOf(vm);
    if (reportReads() > 0) {
      expect(first?.isProven).toBe(false);
      return;
    }
    // The minute has just ended, so the next ID is verified.
    vm.id = String(BigInt(vm.id) + 1n);
    expect((await recordedOf(vm))?.isProven).toBe(false);
  });

  describe('from before the last start is ignored in favour of a report that was written', () => {
    let vm: LabVm;
    beforeEach(() => {
      vm = addLabelled('', { lastStartTimestamp: noon.toISOString() });
    });

    test.each([
      ['during this boot', 1_000, true],
      ['during the previous boot and proves nothing', -1_000, false],
    ])('%s', async (_, secondsAfter, isProven) => {
      report(vm, proven, { booted: secondsOf(noon) + secondsAfter });
      expect((await recordedOf(vm))?.isProven).toBe(isProven);
    });
  });
});
