import { parseAddress, parseCidr } from '../../../shared/core/model/cidr';
import type { Check, CheckName, CloudCheckName } from '../../../shared/core/doctor/check';
import type { Findings } from '../../../shared/core/doctor/findings';
import type { Explanation } from '../../../shared/core/explain/explanation';
import { decide } from '../../../shared/core/masquerading/decide';
import type { Decision } from '../../../shared/core/masquerading/decision';
import { nodeConfig, parseConfig } from '../../../shared/core/model/config';
import type { Node, NetworkContext } from '../../../shared/core/model/node';
import type { Outcome } from '../../../shared/core/reconcile/outcome';
import { ruleSetId } from '../../../shared/core/model/rule-set';
import { ruleSetOf } from '../model/rule-sets';

const ref = { cloud: 'gcp', project: 'shop', zone: 'europe-west1-c', id: '4711' } as const;

export const node: Node = {
  ref,
  name: 'gke-1',
  clusters: ['frontend'],
  state: 'running',
  platform: 'linux',
  isControlPlane: false,
  address: parseAddress('10.209.0.2'),
};

export const networkContext: NetworkContext = {
  network: 'vpc-b',
  networkRanges: [parseCidr('10.209.0.0/16')],
  podRanges: [],
  routedPodRanges: [],
  routes: [],
  discoveredKinds: [],
};

const ruleSet = ruleSetOf('source 10.132.0.0/14', 'masquerade 10.193.0.0/16 to-backend');
export const plan = {
  kind: 'rule-set',
  ruleSet,
  id: ruleSetId(ruleSet),
  routes: 1,
  provenance: [],
  warnings: [],
} as const;
export const proven = { node: ref, kind: 'planned', plan, isChange: false } satisfies Outcome;
export const unproven: Outcome = { node: ref, kind: 'planned', plan, isChange: true };
export const skipped: Outcome = {
  node: ref,
  kind: 'skipped',
  skip: { kind: 'skip', reason: 'pods-routed', detail: 'Not needed.', warnings: [] },
};

export const backfill = 'npx peermasq backfill --node 4711';
export const forcedBackfill = 'npx peermasq backfill --force --node 4711';

export const masqueraded: Explanation = {
  want: 'masqueraded',
  masqueraded: true,
  masqueradedByTablesShown: true,
  notShown: [],
  assumedComplete: false,
  hasUnknownSource: false,
  evidence: [],
  lastingFix: null,
  source: '10.209.0.2',
  sources: ['10.209.0.2'],
  destinations: [{ address: '10.193.0.3', port: 443 }],
  redirectedBy: [],
  mayBeDropped: false,
  path: [],
  omitted: 0,
  cause: 'masqueraded',
  reason: 'Rule 1 of PEERMASQ masquerades it.',
  fix: null,
};
export const notMasqueraded: Explanation = {
  ...masqueraded,
  masqueraded: false,
  masqueradedByTablesShown: false,
  source: '10.132.0.10',
  sources: ['10.132.0.10'],
  cause: 'no-rule',
  reason: 'No rule masquerades the packet.',
  fix: 'iptables -t nat -I POSTROUTING 1 -d 10.193.0.3/32 -j MASQUERADE',
};

const cloudChecks: readonly CloudCheckName[] = [
  'peering',
  'forward-route',
  'return-route',
  'node-firewall',
  'peer-firewall',
];

/**
 * Returns the checks that the cloud makes. All are ok except those in `states`.
 * @param states the states of the checks that are not ok
 */
export const reach = (states: Partial<Record<CloudCheckName, Check['state']>> = {}): Check[] =>
  cloudChecks.map((name) => ({
    name,
    state: states[name] ?? 'ok',
    evidence: [`about ${name}`],
    fix: `fix ${name}`,
  }));

interface DecisionOptions extends Partial<NetworkContext> {
  readonly source?: string;
  readonly destination?: string;
  /** The text of the list `masquerade` in the config. */
  readonly masquerade?: string;
}

/** Returns the masquerading decision, by default for a pod in a cluster that masquerades to 10.193.0.0/16. */
export function decisionFor({
  source = '10.132.0.10',
  destination = '10.193.0.3',
  masquerade = '{cidr: 10.193.0.0/16}',
  ...changes
}: DecisionOptions = {}): Decision {
  const ranges = 'pods: [10.132.0.0/14], services: [10.96.0.0/12]';
  const config = parseConfig(`clusters: {frontend: {${ranges}, masquerade: [${masquerade}]}}`);
  return decide({
    cluster: nodeConfig(config, node),
    networkContext: { ...networkContext, ...changes },
    source: source === 'node' ? source : parseAddress(source),
    destination: parseAddress(destination),
  });
}

/** The network context of VPC-native nodes whose network has one peer. */
export const vpcNative = {
  podRanges: [parseCidr('10.132.0.0/14')],
  routedPodRanges: [parseCidr('10.132.0.0/14')],
  routes: [
    {
      kind: 'peerings',
      via: 'to-backend',
      destination: '10.193.0.0/16',
      state: 'active',
      peerRoutesPods: true,
    },
  ],
  discoveredKinds: ['peerings'],
} as const satisfies Partial<NetworkContext>;

/** Findings for a connection from a node itself, without a pod. */
export const fromNode: Findings = {
  node,
  outcome: proven,
  networkContext,
  requested: { address: parseAddress('10.193.0.3'), port: 443 },
  destination: parseAddress('10.193.0.3'),
  decision: decisionFor({ source: 'node' }),
  rules: masqueraded,
  reach: reach(),
};

/** Findings for a connection from a pod for which every check is ok. */
export const healthy: Findings = {
  ...fromNode,
  pod: parseAddress('10.132.0.10'),
  decision: decisionFor(),
};

export function checkNamed(checks: readonly Check[], name: CheckName): Check {
  const check = checks.find((one) => one.name === name);
  if (!check) throw new Error(`There is no check ${name}`);
  return check;
}
