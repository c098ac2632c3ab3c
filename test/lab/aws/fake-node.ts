import { parseRuleSet } from '../../../shared/core/model/rule-set';
import type { Machine } from '../machine';
import { makeReport } from '../node-report';

/** A simulated node, which reports every rule set as applied and proven without running anything. */
export const fakeNode: Machine = {
  run: (_, { env = {} } = {}) => {
    const ruleSet = parseRuleSet(env['SSM_ruleset'] ?? '');
    const report = makeReport(ruleSet, { rules: ruleSet.destinations.length });
    return Promise.resolve({ status: 0, stdout: `${JSON.stringify(report)}\n`, stderr: '' });
  },
};
