import * as fc from 'fast-check';
import { diagnose } from '../../../shared/core/doctor/diagnose';
import type { Findings } from '../../../shared/core/doctor/findings';
import { withDecision } from '../../../shared/core/explain/with-decision';
import { decide, type PacketSource } from '../../../shared/core/masquerading/decide';
import { decideByReturnRoute, type Decision } from '../../../shared/core/masquerading/decision';
import { contains, type Cidr } from '../../../shared/core/model/cidr';
import { requestedKinds } from '../../../shared/core/model/config';
import type { Node } from '../../../shared/core/model/node';
import { parseRuleSet, printRuleSet, type RuleSet } from '../../../shared/core/model/rule-set';
import type { Outcome } from '../../../shared/core/reconcile/outcome';
import { plan } from '../../../shared/core/reconcile/plan';
import { connection, type Case } from './arbitrary';
import { needsMasquerading } from './by-definition';

const ref = { cloud: 'aws', account: '1', region: 'eu-west-1', id: 'i-1' } as const;
const node: Node = {
  ref,
  name: 'node-1',
  clusters: ['frontend'],
  state: 'running',
  platform: 'linux',
  isControlPlane: false,
};
const recorded = { ruleSetId: 'a'.repeat(64), isProven: true };

/**
 * Plans as the functions do, with only the networks and routes that the config requests. Doctor looks up all networks
 * and routes.
 */
function planOf({ cluster, networkContext, isRecorded }: Case) {
  const self = isRecorded ? { ...node, recorded } : node;
  const requested = requestedKinds(cluster);
  const lookedUp = {
    ...networkContext,
    routes: networkContext.routes.filter(({ kind }) => requested.includes(kind)),
    discoveredKinds: networkContext.discoveredKinds.filter((kind) => requested.includes(kind)),
  };
  return plan({ node: self, cluster, networkContext: lookedUp, generation: 1, allowRouteLoss: true });
}

/** Decides as the node program does: exemptions come first, then source and destination. */
function masquerades({ sources, exemptions, destinations }: RuleSet, { pod, destination }: Case): boolean {
  const hasDestination = ({ cidr }: { readonly cidr: Cidr }) => contains(cidr, destination);
  if (exemptions.some(hasDestination)) return false;
  const isSource = sources.length === 0 || sources.some((range) => contains(range, pod));
  return isSource && destinations.some(hasDestination);
}

function outcomeOf(one: Case): Outcome {
  const result = planOf(one);
  switch (result.kind) {
    case 'rule-set':
      return { node: ref, kind: 'planned', plan: result, isChange: one.isChange };
    case 'skip':
      return { node: ref, kind: 'skipped', skip: result };
    case 'hold':
      throw new Error(`The plan is held: ${result.detail}`);
  }
}

function decisionOf({ cluster, networkContext, destination }: Case, source: PacketSource): Decision {
  return decide({ cluster, networkContext, source, destination });
}

/**
 * Returns the findings from which doctor diagnoses the connection. They are independent of the node's rules and the
 * cloud's state.
 */
function findingsOf(one: Case, outcome: Outcome): Findings {
  const { networkContext, destination, pod, rules, reach, nodeReturnRoute } = one;
  const returnRoute = reach.find(({ name }) => name === 'return-route');
  if (!returnRoute) throw new Error('There is no return route');
  const decision = decideByReturnRoute(decisionOf(one, pod), {
    pod: returnRoute,
    node: { ...returnRoute, state: nodeReturnRoute },
  });
  const requested = { address: destination, port: 443 };
  return { node, outcome, networkContext, pod, requested, destination, decision, rules, reach };
}

/** The number of cases with each decision code. */
export interface Tally {
  cases: number;
  /** The number of cases in which the plan masquerades the packet. */
  masqueraded: number;
  readonly codes: Map<string, number>;
}

function check(one: Case, tally: Tally): void {
  const outcome = outcomeOf(one);
  const ruleSet = outcome.kind === 'planned' ? parseRuleSet(printRuleSet(outcome.plan.ruleSet)) : undefined;
  const isMasqueraded = ruleSet !== undefined && masquerades(ruleSet, one);
  const decision = decisionOf(one, one.pod);
  tally.cases += 1;
  tally.masqueraded += Number(isMasqueraded);
  tally.codes.set(decision.code, (tally.codes.get(decision.code) ?? 0) + 1);

  const byDefinition = needsMasquerading(one);
  if (isMasqueraded !== byDefinition) {
    throw new Error(
      `The plan ${isMasqueraded ? 'masquerades' : 'does not masquerade'} the packet, which disagrees with the definition`,
    );
  }
  if ((decision.verdict === 'needed') !== isMasqueraded) {
    throw new Error(
      `decide says ${decision.verdict} (${decision.code}), but masqueraded by the plan: ${isMasqueraded}`,
    );
  }
  if ((decision.verdict === 'unknown') !== (decision.resolvedBy !== undefined)) {
    throw new Error(
      `The decision ${decision.code} is unknown but does not say what would resolve it, or is known but does`,
    );
  }
  const forNode = decisionOf(one, 'node').verdict;
  if (forNode !== 'not-needed') throw new Error(`decide says ${forNode} for the node itself`);
  const forAny = decisionOf(one, 'any-pod').verdict;
  if (isMasqueraded && forAny !== 'needed') throw new Error(`decide says ${forAny} for any pod`);
  checkDoctor(one, { outcome, isMasqueraded });
}

function checkDoctor(
  one: Case,
  { outcome, isMasqueraded }: { readonly outcome: Outcome; readonly isMasqueraded: boolean },
): void {
  const findings = findingsOf(one, outcome);
  const { checks } = diagnose(findings);
  const stateOf = (wanted: string) => checks.find(({ name }) => name === wanted)?.state;
  const states = `masquerading ${stateOf('masquerading')}, proof ${stateOf('proof')}`;
  if (isMasqueraded && [stateOf('masquerading'), stateOf('proof')].includes('not-needed')) {
    throw new Error(`The plan masquerades the packet, but doctor says ${states}`);
  }
  if (findings.rules instanceof Error) return;
  const { cause } = withDecision(findings.rules, findings.decision);
  if (isMasqueraded && cause === 'not-needed')
    throw new Error('The plan masquerades the packet, but explain says not-needed');
}

/** @throws Error with the smallest case in which plan, decide, doctor and explain contradict each other */
export function checkAgreement({ cases, seed }: { readonly cases: number; readonly seed: number }): Tally {
  const tally: Tally = { cases: 0, masqueraded: 0, codes: new Map() };
  fc.assert(
    fc.property(connection, (one) => {
      check(one, tally);
    }),
    { numRuns: cases, seed },
  );
  return tally;
}
