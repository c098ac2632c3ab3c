import { printRuleSet, type RuleSet } from '../model/rule-set';
import { installProgram } from './install-program';

/**
 * Renders a self-contained script for instance templates and cloud-init. It installs the node program and applies the
 * rule set. The script exceeds the 16 KB limit of EC2 user data.
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
