import { printRuleSet, type RuleSet } from '../model/rule-set';
import { installProgram } from './install-program';

/**
 * A script that needs nothing but itself: it installs the node program and applies the rule set. For instance
 * templates and cloud-init; EC2 takes 16 KB of user data, which is too little for it.
 */
export function renderStartupScript(program: string, ruleSet: RuleSet): string {
  return `#!/bin/sh
# Puts a peermasq rule set in force. What changes later does not reach this node: that takes the functions.
set -eu
${installProgram(program)}
bash "$folder/peermasq.sh" apply <<'END'
${printRuleSet(ruleSet)}END
`;
}
