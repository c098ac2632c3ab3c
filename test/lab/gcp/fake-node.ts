import { setTimeout as pause } from 'node:timers/promises';
import { parseRuleSet } from '../../../shared/core/model/rule-set';
import { makeReport } from '../node-report';
import { metadataOf, type GcpState, type LabVm } from './state';

/**
 * Simulates a node on every VM: when the rule set in a VM's metadata changes, the VM reports that the rule set is
 * applied and proven. Nothing is changed in a kernel.
 * @param reportsAfterMs returns the delay of a report in milliseconds
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
