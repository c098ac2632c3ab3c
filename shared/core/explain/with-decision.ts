import type { Decision } from '../masquerading/decision';
import type { Explanation } from './explanation';

/**
 * Adds the decision to an explanation. The rules alone do not show whether the packet may keep its source address. If
 * it may, a missing masquerade rule is not a problem.
 */
export function withDecision(explanation: Explanation, { verdict, code, evidence }: Decision): Explanation {
  const { masqueraded, cause } = explanation;
  const mayKeepAddress = verdict === 'not-needed' && code !== 'from-node';
  if (masqueraded !== false || !mayKeepAddress) return explanation;
  if (cause === 'dropped' || cause === 'stays-on-node') return explanation;
  const reason = `Not needed: ${evidence[0]} ${explanation.reason}`;
  return { ...explanation, cause: 'not-needed', reason, fix: null };
}
