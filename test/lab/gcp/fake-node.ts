import { setTimeout as pause } from 'node:timers/promises';
import { parseRuleSet } from '../../../shared/core/model/rule-set';
import { makeReport } from '../node-report';
import { metadataOf, type GcpState, type LabVm } from './state';

/**
 * Turns all VMs into nodes without a kernel. From now on, each VM reports that the rule set in its metadata is
 * applied and proven.
 * @param reportsAfterMs how long after a change of its metadata a VM reports
 */
export function runFakeNodes({ changes }: GcpState, reportsAfterMs: () => number): void {
  const reported = new WeakMap<LabVm, string>();
  changes.on('change', (vm: LabVm) => {
    const text = metadataOf(vm, 'peermasq-ruleset');
    if (text === undefined || reported.get(vm) === text) return;
    reported.set(vm, text);
    const ruleSet = parseRuleSet(text);
    void pause(reportsAfterMs()).then(() => {
      const report = makeReport(ruleSet, { rules: ruleSet.destinations.length });
      vm.guestAttributes['peermasq/status'] = JSON.stringify(report);
    });
  });
}
