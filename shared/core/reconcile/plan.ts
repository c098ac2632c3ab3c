import { contains, overlaps, type Aggregate, type Cidr } from '../model/cidr';
import type { NetworkContext, Node } from '../model/node';
import type { RecordedState } from '../model/recorded-state';
import { printProbe, ruleSetId, type NamedCidr, type Probe, type RuleSet } from '../model/rule-set';
import { definedOnly } from '../util/collections';
import { skip, type Skip, type Warning } from './check-eligibility';
import { decideRanges, type MasqueradingContext, type MasqueradingRanges } from '../masquerading/ranges';
import { nameRanges, type DestinationRequest } from '../masquerading/requests';

export type Plan =
  | {
      readonly kind: 'rule-set';
      readonly ruleSet: RuleSet;
      readonly id: string;
      /** The number of distinct ranges that were discovered. */
      readonly routes: number;
      /** The requests from which each destination was merged. */
      readonly provenance: readonly Aggregate<DestinationRequest>[];
      readonly warnings: readonly Warning[];
    }
  | Skip
  /** Discovery found no routes, or far fewer than before. The rules in force are kept, and an alert is sent. */
  | { readonly kind: 'hold'; readonly detail: string; readonly warnings: readonly Warning[] };

export interface PlanInput extends MasqueradingContext {
  readonly node: Node;
  /**
   * A time before discovery started, in milliseconds since the epoch. Of two plans, the one with older data therefore
   * always has the lower generation.
   */
  readonly generation: number;
  /** Whether to accept a loss of routes. By default, a plan with lost routes is held. */
  readonly allowRouteLoss?: boolean;
}

/** The node program (shared/node/src) has the same limit. */
const destinationsLimit = 10_000;

/** Plans the rule set of one node. A pure function: the same input always gives the same bytes. */
export function plan({ node, cluster, networkContext, generation, allowRouteLoss = false }: PlanInput): Plan {
  const context = { cluster, networkContext };
  const ranges = decideRanges(context);
  const { routes, warnings } = ranges;
  if (!allowRouteLoss && isRouteLoss(node.recorded, context, ranges)) {
    return heldPlan(routeLossReason(node.recorded, context, routes), warnings);
  }

  const exemptions = nameRanges(ranges.exemptions);
  const destinations = nameRanges(ranges.destinations);
  // A node that has rules gets an empty rule set, which removes the rules. A node without rules needs no rule set.
  if (destinations.length === 0 && !node.recorded) return skipWithoutDestinations(context, ranges);
  if (destinations.length > destinationsLimit) {
    const reason = `The plan has ${destinations.length} destinations, but a node accepts at most ${destinationsLimit}`;
    return heldPlan(reason, warnings);
  }

  const probes = selectProbes(cluster.probe, { destinations, exemptions });
  const isFamilyInUse = ({ family }: Cidr) => destinations.some(({ cidr }) => cidr.family === family);
  const sources = ranges.sources.filter(isFamilyInUse);
  const ruleSet: RuleSet = definedOnly({
    generation,
    randomFully: cluster.randomFully,
    out: cluster.out,
    isSteered: canLeaveBySecondaryInterface(node, sources, networkContext) || undefined,
    sources,
    exemptions: exemptions.filter(({ cidr }) => isFamilyInUse(cidr)),
    destinations,
    probes: probes.probes,
  });
  return {
    kind: 'rule-set',
    ruleSet,
    id: ruleSetId(ruleSet),
    routes,
    provenance: ranges.destinations,
    warnings: [...warnings, ...podWarnings(ranges), ...probes.warnings],
  };
}

/**
 * Whether pods may send traffic through secondary network interfaces. Pods with VPC addresses (VPC CNI on AWS) may do
 * so; only the node program can find out whether they actually do.
 */
const canLeaveBySecondaryInterface = (
  { ref }: Node,
  sources: readonly Cidr[],
  { networkRanges }: NetworkContext,
): boolean =>
  ref.cloud === 'aws' && sources.some((source) => networkRanges.some((own) => overlaps(own, source)));

const heldPlan = (reason: string, warnings: readonly Warning[]): Plan => ({
  kind: 'hold',
  detail: `${reason}. The rules in force are kept.`,
  warnings,
});

/**
 * Whether discovery found less than half as many routes as before, which is more likely an error than an intended
 * change. If the earlier number was not recorded, an empty result counts as a loss, unless the config lists other
 * destinations.
 */
function isRouteLoss(
  recorded: RecordedState | undefined,
  { cluster: { masquerade } }: MasqueradingContext,
  { routes }: MasqueradingRanges,
): boolean {
  if (!recorded || masquerade.every((entry) => typeof entry !== 'string')) return false;
  if (recorded.routes !== undefined) return routes < recorded.routes / 2;
  return routes === 0 && masquerade.every((entry) => typeof entry === 'string');
}

function routeLossReason(
  recorded: RecordedState | undefined,
  { networkContext: { network } }: MasqueradingContext,
  routes: number,
): string {
  const before = recorded?.routes === undefined ? 'but rules are in force' : `down from ${recorded.routes}`;
  return `Found ${routes} ${routes === 1 ? 'route' : 'routes'} in ${network}, ${before}`;
}

function skipWithoutDestinations(
  { networkContext: { network } }: MasqueradingContext,
  { routed, unusable, warnings }: MasqueradingRanges,
): Skip {
  if (unusable.length > 0) {
    const detail = `The subnet of its primary interface has no route to the destinations; another subnet of ${network} has one.`;
    return skip('not-in-node-subnet', detail, warnings);
  }
  return routed.length > 0
    ? skip('pods-routed', 'Not needed: peered networks have routes to its pods.', warnings)
    : skip('nothing-to-masquerade', `Found no destinations in ${network}.`, warnings);
}

function podWarnings({ routed, sources }: MasqueradingRanges): Warning[] {
  const warnings: Warning[] = [];
  if (routed.length > 0) {
    const detail = 'Traffic to subnets of peers is not masqueraded: the peers have routes to the pods.';
    warnings.push({ code: 'pods-routed', detail });
  }
  if (sources.length === 0) {
    warnings.push({ code: 'any-source', detail: 'No pod range is known, so the rules match any source.' });
  }
  return warnings;
}

/** Returns the probes to which the rules masquerade traffic, without duplicates. Warns about every other probe. */
function selectProbes(
  probes: readonly Probe[],
  { destinations, exemptions }: Pick<RuleSet, 'destinations' | 'exemptions'>,
): { probes: Probe[]; warnings: Warning[] } {
  const distinct = [...new Map(probes.map((probe) => [printProbe(probe), probe])).values()];
  const isMasqueraded = ({ address }: Probe) => {
    const includesAddress = ({ cidr }: NamedCidr) => contains(cidr, address);
    return destinations.some(includesAddress) && !exemptions.some(includesAddress);
  };
  const skipped = distinct.filter((probe) => !isMasqueraded(probe));
  return {
    probes: distinct.filter(isMasqueraded),
    warnings: skipped.map((probe) => ({
      code: 'probe-not-masqueraded',
      detail: `Skipped probe ${printProbe(probe)}: no rule masquerades traffic to it.`,
    })),
  };
}
