import { printRuleSet, type RuleSet } from '../model/rule-set';
import { installProgram } from './install-program';

/**
 * A self-contained script for instance templates and cloud-init: it installs the node program and applies the rule
 * set. Too large for EC2 user data, which is limited to 16 KB.
 */
export function renderStartupScript(program: string, ruleSet: RuleSet): string {
  return `#!/bin/sh
# Applies a peermasq rule set. Later changes reach this node only through the functions.
set -eu
${installProgram(program)}
bash "$folder/peermasq.sh" apply <<'END'
${printRuleSet(ruleSet)}END
`;
}
