import type { Report } from '../../shared/core/report';
import { parseRuleSet, ruleSetId } from '../../shared/core/rule-set';
import type { Machine } from './machine';

/** A node without a kernel: it says that whatever rule set it is sent is applied and proven. */
export const obedient: Machine = {
  run: (_, { env = {} } = {}) => {
    const ruleSet = parseRuleSet(env['SSM_ruleset'] ?? '');
    const report: Report = {
      result: 'applied',
      proven: true,
      id: ruleSetId(ruleSet),
      generation: ruleSet.generation,
      backend: 'iptables-nft',
      rules: ruleSet.destinations.length,
      healed: 0,
      persisted: 'systemd',
      warnings: [],
      probes: [],
    };
    return Promise.resolve({ status: 0, stdout: `${JSON.stringify(report)}\n`, stderr: '' });
  },
};
