import type { CheckResult } from '../doctor/check';
import type { NonEmpty } from '../util/collections';

/** The stable code of each decision. */
const verdicts = {
  'even-if-routed': 'needed',
  'configured-range': 'needed',
  'requested-route': 'needed',
  /** Found by doctor: return traffic reaches the node's address, but not the pod's. */
  'no-return-route': 'needed',
  'from-node': 'not-needed',
  'reserved-range': 'not-needed',
  'inside-cluster': 'not-needed',
  'own-network': 'not-needed',
  'pods-routed': 'not-needed',
  /** Found by doctor: return traffic reaches the pod's own address. */
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
  /** One sentence each, the decisive one first. */
  readonly evidence: NonEmpty<string>;
  /** What would resolve an unknown one, for people. */
  readonly resolvedBy?: string;
  /** The code before the return route was checked. */
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

/** Whether return traffic reaches the pod's own address, and whether it reaches the node's. */
export interface ReturnRoutes {
  readonly pod: CheckResult;
  readonly node: CheckResult;
}

/** Decides an unknown case by what the cloud shows about the way back. */
export function decideByReturnRoute(decision: Decision, { pod, node }: ReturnRoutes): Decision {
  if (decision.verdict !== 'unknown') return decision;
  const evidence = joinEvidence(pod, decision);
  const { code: initialCode } = decision;
  if (pod.state === 'ok') return { ...known('return-route', ...evidence), initialCode };
  // Masquerading does not help where return traffic does not reach the node either.
  if (pod.state !== 'broken' || node.state === 'broken') return decision;
  return { ...known('no-return-route', ...evidence), initialCode };
}

function joinEvidence(pod: CheckResult, decision: Decision): NonEmpty<string> {
  const [first, ...others] = pod.evidence;
  return first === undefined ? decision.evidence : [first, ...others, ...decision.evidence];
}
