import type { Report } from '../../shared/core/model/report';
import { latestFormat, ruleSetId, type RuleSet } from '../../shared/core/model/rule-set';

/** Returns the report of a node that has just applied this rule set. `changes` overrides fields of the report. */
export function makeReport(ruleSet: RuleSet | undefined, changes: Partial<Report> = {}): Report {
  return {
    result: 'applied',
    proven: true,
    id: ruleSet ? ruleSetId(ruleSet) : null,
    generation: ruleSet?.generation ?? null,
    backend: 'iptables-nft',
    rules: 1,
    flushed: 0,
    persisted: 'systemd',
    warnings: [],
    probes: [],
    format: latestFormat,
    ...changes,
  };
}
