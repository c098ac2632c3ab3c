import { setTimeout as pause } from 'node:timers/promises';
import { parseRuleSet } from '../../../shared/core/rule-set';
import { reportOf } from '../report';
import { metadataOf, type GoogleCloud, type Vm } from './state';

/**
 * From now on all VMs are nodes without a kernel: each reports whatever rule set its metadata has as applied and
 * proven. @param reportsAfterMs from the change of its metadata
 */
export function obeyMetadata({ changes }: GoogleCloud, reportsAfterMs: () => number): void {
  const obeyed = new WeakMap<Vm, string>();
  changes.on('change', (vm: Vm) => {
    const text = metadataOf(vm, 'peermasq-ruleset');
    if (text === undefined || obeyed.get(vm) === text) return;
    obeyed.set(vm, text);
    const ruleSet = parseRuleSet(text);
    void pause(reportsAfterMs()).then(() => {
      const report = reportOf(ruleSet, { rules: ruleSet.destinations.length });
      vm.guestAttributes['peermasq/status'] = JSON.stringify(report);
    });
  });
}
