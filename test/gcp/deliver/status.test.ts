import { describe, expect, test } from '@jest/globals';
import { printRuleSet, ruleSetId } from '../../../shared/core/model/rule-set';
import { addVm, callsOf } from '../../lab/gcp/state';
import { assigned, CloudLab, gke, inSeconds, report, ruleSet } from '../cloud-lab';

const lab = new CloudLab();
const proven = ruleSet(1);
const addNode = () => addVm(lab.state, { ...gke('frontend'), metadata: assigned(printRuleSet(proven)) });

describe('the status label of a node', () => {
  test('records a proof that was read while listing nodes, and records it only once', async () => {
    const vm = addNode();
    report(vm, proven);
    const listNode = async () => {
      const [node] = await lab.cloud.nodes.list(['frontend'], inSeconds(10));
      if (!node) throw new Error('nothing was listed');
      return node;
    };
    const node = await listNode();
    expect(node.recorded).toMatchObject({ isProven: true, isRecordOutdated: true });
    const record = { node, ruleSetId: ruleSetId(proven), state: 'proven' as const };
    expect(await lab.cloud.channel.writeRecords([record], inSeconds(10))).toEqual([]);
    expect(vm.labels).toEqual({
      'goog-k8s-cluster-name': 'frontend',
      'peermasq-status': expect.stringMatching(
        `^proven-${ruleSetId(proven).slice(0, 12)}-\\d{10}-f2$`,
      ) as unknown,
    });
    lab.state.calls.length = 0;
    await lab.cloud.channel.writeRecords([{ ...record, node: await listNode() }], inSeconds(10));
    expect(callsOf(lab.state, 'compute.instances.setLabels')).toBe(0);
  });

  test('does not overwrite labels that another writer has just changed', async () => {
    const vm = addNode();
    const node = await lab.nodeOf(vm);
    vm.labels['team'] = 'blue';
    const record = { node, ruleSetId: ruleSetId(proven), state: 'needs-reboot' as const };
    expect(await lab.cloud.channel.writeRecords([record], inSeconds(10))).toMatchObject([
      { error: { code: 'conflict' } },
    ]);
    expect(vm.labels).toEqual({ 'goog-k8s-cluster-name': 'frontend', team: 'blue' });
    expect(callsOf(lab.state, 'compute.instances.setLabels')).toBe(1);
  });
});
