import { contains } from '../model/cidr';
import { formatError } from '../model/errors';
import type { Node } from '../model/node';
import { reasonOf } from '../reconcile/outcome';
import type { Check, CheckResult } from './check';
import { backfillCommand, isPlanned } from './check-masquerading';
import type { Findings } from './findings';

/** Has the node proven its planned rule set? Not needed if the connection does not depend on it. */
export function checkProof(findings: Findings, masquerading: Check): CheckResult {
  const result = proofOf(findings, masquerading);
  const { outcome, destination } = findings;
  const isCovered =
    outcome.kind !== 'planned' ||
    outcome.plan.ruleSet.destinations.some(({ cidr }) => contains(cidr, destination));
  const isNeeded = isCovered && masquerading.state !== 'not-needed';
  if (result.state !== 'broken' || isNeeded) return result;
  return { state: 'not-needed', evidence: ['This connection does not need it.', ...result.evidence] };
}

function proofOf(findings: Findings, masquerading: Check): CheckResult {
  const { node, outcome } = findings;
  const fix = backfillCommand(findings);
  switch (outcome.kind) {
    case 'skipped':
      return { state: 'not-needed', evidence: [outcome.skip.detail] };
    case 'planned': {
      if (outcome.isChange)
        return { state: 'broken', evidence: [unprovenEvidence(node, outcome.plan.id)], fix };
      if (!hasDrifted(findings, masquerading)) return { state: 'ok', evidence: [provenEvidence(node)] };
      const drift = 'The rules on the node have drifted from the proven rule set.';
      return { state: 'broken', evidence: [drift, provenEvidence(node)], fix };
    }
    case 'failed':
      return { state: 'broken', evidence: [formatError(outcome.error)], fix };
    default:
      return { state: 'unknown', evidence: [reasonOf(outcome)] };
  }
}

/** The proven rules would masquerade the connection: the chain or its jump is gone, or a rule precedes it. */
const hasDrifted = (findings: Findings, masquerading: Check): boolean =>
  masquerading.state === 'broken' &&
  !(findings.rules instanceof Error) &&
  findings.rules.cause !== 'untracked' &&
  isPlanned(findings);

const shortId = (ruleSetId: string): string => ruleSetId.slice(0, 12);

const provenEvidence = ({ recorded }: Node): string =>
  `The node proved rule set ${shortId(recorded?.ruleSetId ?? '')}${recorded?.at ? ` at ${recorded.at.toISOString()}` : ''}.`;

function unprovenEvidence({ recorded, lastPush }: Node, planned: string): string {
  const expected = `Expected rule set ${shortId(planned)}`;
  if (!recorded) return `${expected}; the node has not confirmed any.`;
  const actual =
    recorded.ruleSetId === planned
      ? 'the node has not confirmed it'
      : `the node has ${shortId(recorded.ruleSetId)}`;
  const last = lastPush ? ` Last push: ${lastPush.state} at ${lastPush.at.toISOString()}.` : '';
  return `${expected}; ${actual}.${last}`;
}
