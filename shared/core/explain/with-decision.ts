import type { Decision } from '../masquerading/decision';
import type { Explanation } from './explanation';

/**
 * Adds the decision to an explanation. The rules alone do not show whether the packet may keep its source address. If
 * it may, a missing masquerade rule is not a problem.
 */
export function withDecision(explanation: Explanation, decision: Decision): Explanation {
  return explanation.want === 'direct'
    ? warnIfNeeded(explanation, decision)
    : acceptIfNotNeeded(explanation, decision);
}

function acceptIfNotNeeded(explanation: Explanation, { verdict, code, evidence }: Decision): Explanation {
  const { masqueraded, cause } = explanation;
  const mayKeepAddress = verdict === 'not-needed' && code !== 'from-node';
  if (masqueraded !== false || !mayKeepAddress) return explanation;
  if (cause === 'dropped' || cause === 'stays-on-node') return explanation;
  const reason = `Not needed: ${evidence[0]} ${explanation.reason}`;
  return { ...explanation, cause: 'not-needed', reason, fix: null, lastingFix: null };
}

/** A packet that leaves with the pod's address gets no reply if the peer has no route to the pod. */
function warnIfNeeded(explanation: Explanation, { verdict, evidence }: Decision): Explanation {
  if (verdict !== 'needed') return explanation;
  return { ...explanation, reason: `${explanation.reason} Masquerading is needed: ${evidence[0]}` };
}
