import { aggregate, mergeCidrs, overlaps, type Aggregate, type Cidr } from '../model/cidr';
import { configuredKinds } from '../model/config';
import type { NetworkContext, Node } from '../model/node';
import type { RecordedState } from '../model/recorded-state';
import { ruleSetId, type NamedCidr, type RuleSet } from '../model/rule-set';
import { definedOnly } from '../util/collections';
import { skip, type Skip, type Warning } from './check-eligibility';
import {
  arePodsRouted,
  configuredDestinations,
  discoverDestinations,
  selectDestinations,
  selectProbes,
  type DestinationRequest,
  type PlanContext,
} from './destinations';

export type Plan =
  | {
      readonly kind: 'rule-set';
      readonly ruleSet: RuleSet;
      readonly id: string;
      /** How many different ranges were discovered. */
      readonly routes: number;
      /** The requests that each destination was merged from. */
      readonly provenance: readonly Aggregate<DestinationRequest>[];
      readonly warnings: readonly Warning[];
    }
  | Skip
  /** Discovery found no routes or far fewer than before: the rules in force are kept, and an alert is sent. */
  | { readonly kind: 'hold'; readonly detail: string; readonly warnings: readonly Warning[] };

export interface PlanInput extends PlanContext {
  readonly node: Node;
  /**
   * Milliseconds since the epoch, from before discovery. Then the plan with the later generation never has the older
   * data.
   */
  readonly generation: number;
  /** Accept that routes were lost. By default the plan is held. */
  readonly allowRouteLoss?: boolean;
}

/** As in the node program (shared/node/src). */
const destinationsLimit = 10_000;

/** Plans what one node must have in force. Pure: the same input gives the same bytes. */
export function plan({ node, cluster, networkContext, generation, allowRouteLoss = false }: PlanInput): Plan {
  const context = { cluster, networkContext };
  const discovered = discoverDestinations(context);
  const routes = new Set(discovered.requests.map(({ cidr }) => cidr.text)).size;
  if (!allowRouteLoss && isRouteLoss(node.recorded, context, routes)) {
    return heldPlan(routeLossReason(node.recorded, context, routes), discovered.warnings);
  }

  const pods = mergeCidrs([...cluster.pods, ...networkContext.podRanges]);
  const exemptions = nameRanges(aggregate(exemptRanges(context)));
  const requests = [...configuredDestinations(cluster), ...discovered.requests];
  const selected = selectDestinations(requests, { pods, exemptions });
  const provenance = aggregate(selected.requests);
  const destinations = nameRanges(provenance);
  const warnings = [...discovered.warnings, ...selected.warnings];
  // A node with rules gets an empty rule set, which removes them. A node without rules needs none.
  if (destinations.length === 0 && !node.recorded) return skipWithoutDestinations(context, warnings);
  if (destinations.length > destinationsLimit) {
    const reason = `The plan has ${destinations.length} destinations; a node accepts at most ${destinationsLimit}`;
    return heldPlan(reason, warnings);
  }

  const probes = selectProbes(cluster.probe, { destinations, exemptions });
  const isFamilyInUse = ({ family }: Cidr) => destinations.some(({ cidr }) => cidr.family === family);
  const sources = pods.filter(isFamilyInUse);
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
    provenance,
    warnings: [...warnings, ...podWarnings(context, pods), ...probes.warnings],
  };
}

/**
 * On AWS, pods with addresses of the VPC (the VPC CNI) can leave by secondary network interfaces. Only the node knows
 * whether they do.
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
 * Whether discovery found less than half as many routes as before. That is more likely an error than an intended
 * change. If the earlier number was not recorded: whether it found none, and the config has no other destinations.
 */
function isRouteLoss(recorded: RecordedState | undefined, context: PlanContext, routes: number): boolean {
  const kinds = configuredKinds(context.cluster);
  if (!recorded || kinds.length === 0 || arePodsRouted(context)) return false;
  if (recorded.routes !== undefined) return routes < recorded.routes / 2;
  return routes === 0 && kinds.length === context.cluster.masquerade.length;
}

function routeLossReason(
  recorded: RecordedState | undefined,
  { networkContext: { network } }: PlanContext,
  routes: number,
): string {
  const before = recorded?.routes === undefined ? 'but rules are in force' : `down from ${recorded.routes}`;
  return `Found ${routes} ${routes === 1 ? 'route' : 'routes'} in ${network}, ${before}`;
}

function skipWithoutDestinations(context: PlanContext, warnings: readonly Warning[]): Skip {
  return arePodsRouted(context)
    ? skip('pods-routed', 'Not needed: peered networks have routes to its pods.', warnings)
    : skip('nothing-to-masquerade', `Found no destination in ${context.networkContext.network}.`, warnings);
}

function exemptRanges({ cluster, networkContext }: PlanContext): NamedCidr[] {
  const named = (name: string, cidrs: readonly Cidr[]) => cidrs.map((cidr) => ({ cidr, name }));
  return [
    ...named('pods', [...cluster.pods, ...networkContext.podRanges]),
    ...named('services', cluster.services),
    ...named('network', networkContext.networkRanges),
    ...named('except', cluster.except),
  ];
}

function podWarnings(context: PlanContext, pods: readonly Cidr[]): Warning[] {
  const warnings: Warning[] = [];
  if (arePodsRouted(context)) {
    const detail = 'Traffic to peered networks is not masqueraded: they have routes to the pods.';
    warnings.push({ code: 'pods-routed', detail });
  }
  if (pods.length === 0) {
    warnings.push({ code: 'any-source', detail: 'No pod range is known: the rules match any source.' });
  }
  return warnings;
}

/**
 * Names a merged range after the requests for exactly this range, or if there are none, after all of them:
 * `pcx-a/and-2-more`.
 */
function nameRanges<T extends NamedCidr>(ranges: readonly Aggregate<T>[]): NamedCidr[] {
  return ranges.map(({ cidr, from }) => {
    const exact = from.filter((entry) => entry.cidr.text === cidr.text);
    const names = [...new Set((exact.length > 0 ? exact : from).map(({ name }) => name))].toSorted();
    const [first = '-', ...others] = names;
    if (others.length === 0) return { cidr, name: first };
    const more = `/and-${others.length}-more`;
    return { cidr, name: `${first.slice(0, 63 - more.length)}${more}` };
  });
}
