import { parseRuleSet, type RuleSet } from '../../../shared/core/model/rule-set';

/** Returns a rule set that consists of these lines. */
export const ruleSetOf = (...lines: string[]): RuleSet =>
  parseRuleSet(`peermasq/1\ngeneration 1795295818468\n${lines.join('\n')}\n`);

/** The rule set of the first demo scenario, with every kind of line. */
export const fullRuleSet = ruleSetOf(
  'option random-fully',
  'option out eth0',
  'source 10.132.0.0/14',
  'source fd00:132::/32',
  'exempt 10.132.0.0/14 pods',
  'exempt 10.193.7.0/24 except',
  'exempt fd00:132::/32 pods6',
  'masquerade 10.193.0.0/16 backend-vpc',
  'masquerade 10.194.0.1/32 a@b:/c.d_e-f',
  'masquerade fd00:193::/32 six',
);
