import type { CheckResult } from '../doctor/check';
import type { NonEmpty } from '../util/collections';

/** Every decision code, with its verdict. The codes are stable. */
const verdicts = {
  'even-if-routed': 'needed',
  'configured-range': 'needed',
  'requested-route': 'needed',
  /** Set by doctor: return traffic reaches the node's address, but not the pod's address. */
  'no-return-route': 'needed',
  'from-node': 'not-needed',
  'reserved-range': 'not-needed',
  'inside-cluster': 'not-needed',
  'own-network': 'not-needed',
  'pods-routed': 'not-needed',
  /** Set by doctor: return traffic reaches the pod's own address. */
  'return-route': 'not-needed',
  'excepted-range': 'unknown',
  'not-in-node-subnet': 'unknown',
  'pods-outside-network': 'unknown',
  'unknown-pod-range': 'unknown',
  'refused-range': 'unknown',
  'inactive-route': 'unknown',
  'kind-not-discovered': 'unknown',
  'route-not-requested': 'unknown',
  'no-known-route': 'unknown',
} as const satisfies Record<string, 'needed' | 'not-needed' | 'unknown'>;

export type DecisionCode = keyof typeof verdicts;

/** Whether a packet needs masquerading. */
export interface Decision {
  readonly verdict: (typeof verdicts)[DecisionCode];
  readonly code: DecisionCode;
  /** The reasons, in one sentence each. The decisive reason comes first. */
  readonly evidence: NonEmpty<string>;
  /** The information that would resolve an unknown decision, described for operators. */
  readonly resolvedBy?: string;
  /** The code before doctor checked the return route. */
  readonly initialCode?: DecisionCode;
}

export const known = (code: DecisionCode, ...evidence: NonEmpty<string>): Decision => ({
  verdict: verdicts[code],
  code,
  evidence,
});

export const unknown = (code: DecisionCode, evidence: string, resolvedBy: string): Decision => ({
  ...known(code, evidence),
  resolvedBy,
});

/** Whether return traffic reaches the pod's own address, and whether it reaches the node's address. */
export interface ReturnRoutes {
  readonly pod: CheckResult;
  readonly node: CheckResult;
}

/** Resolves an unknown decision, using the return routes that the cloud reports. */
export function decideByReturnRoute(decision: Decision, { pod, node }: ReturnRoutes): Decision {
  if (decision.verdict !== 'unknown') return decision;
  const evidence = joinEvidence(pod, decision);
  const { code: initialCode } = decision;
  if (pod.state === 'ok') return { ...known('return-route', ...evidence), initialCode };
  // Masquerading does not help if return traffic does not reach the node either.
  if (pod.state !== 'broken' || node.state === 'broken') return decision;
  return { ...known('no-return-route', ...evidence), initialCode };
}

function joinEvidence(pod: CheckResult, decision: Decision): NonEmpty<string> {
  const [first, ...others] = pod.evidence;
  return first === undefined ? decision.evidence : [first, ...others, ...decision.evidence];
}
