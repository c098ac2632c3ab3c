import { aggregate, contains, overlaps, parseCidr, subtract, type Aggregate, type Cidr } from './cidr';
import { clusterConfig, type ClusterConfig, type Config } from './config';
import { messageOf } from './errors';
import type { Node, Route, Surroundings } from './node';
import { whyReserved } from './reserved';
import { printProbe, ruleSetId, toName, type NamedCidr, type RuleSet } from './rule-set';

export type SkipReason =
  | 'no-cluster'
  | 'ambiguous-cluster'
  | 'not-configured'
  | 'not-running'
  | 'windows'
  | 'bottlerocket'
  | 'pods-routed'
  | 'nothing-to-masquerade';

export interface Skip {
  readonly kind: 'skip';
  readonly reason: SkipReason;
  /** One sentence for whoever wonders. */
  readonly detail: string;
  readonly warnings: readonly Warning[];
}

export interface Warning {
  readonly code:
    | 'any-source'
    | 'blackhole'
    | 'not-looked-up'
    | 'unreadable-route'
    | 'reserved-range'
    | 'destination-exempt'
    | 'destination-overlaps'
    | 'probe-outside';
  readonly detail: string;
}

/** One thing that asked for a destination: a line of the config, or a route. */
export interface Wish {
  readonly cidr: Cidr;
  readonly name: string;
  readonly from: 'config' | Route;
}

export type Plan =
  | {
      readonly kind: 'rule-set';
      readonly ruleSet: RuleSet;
      readonly id: string;
      /** Where each destination of the rule set comes from. */
      readonly provenance: readonly Aggregate<Wish>[];
      readonly warnings: readonly Warning[];
    }
  | Skip
  /** Discovery found nothing where rules are in force: they stay, and somebody should look. */
  | { readonly kind: 'hold'; readonly detail: string; readonly warnings: readonly Warning[] };

export type Admission = { readonly kind: 'admitted'; readonly cluster: ClusterConfig } | Skip;

const skip = (reason: SkipReason, detail: string, warnings: readonly Warning[] = []): Skip => ({
  kind: 'skip',
  reason,
  detail,
  warnings,
});

/** Whether a node is ours to serve, told from the node and the config alone. */
export function admit(node: Node, config: Config): Admission {
  const [name, ...others] = node.clusters;
  if (name === undefined) return skip('no-cluster', 'Its tags or labels name no cluster.');
  if (others.length > 0) {
    return skip(
      'ambiguous-cluster',
      `Its tags or labels name several clusters: ${node.clusters.join(', ')}.`,
    );
  }
  const cluster = clusterConfig(config, name);
  if (!cluster) return skip('not-configured', `peermasq.yaml has no entry for cluster ${name}.`);
  if (node.state === 'stopped' || node.state === 'gone') return skip('not-running', `It is ${node.state}.`);
  if (node.platform === 'windows') return skip('windows', 'A Windows node has no iptables.');
  if (node.platform === 'bottlerocket') {
    return skip('bottlerocket', 'On Bottlerocket commands run in a container that has no iptables.');
  }
  return { kind: 'admitted', cluster };
}

/**
 * What one node must have in force. Pure: the same inputs give the same bytes, but for the generation.
 * @param generation milliseconds since the epoch.
 */
export function plan(node: Node, cluster: ClusterConfig, around: Surroundings, generation: number): Plan {
  const warnings: Warning[] = [];
  const pods = [...cluster.pods, ...around.podRanges];
  const exemptions = nameAll(aggregate(exempted(cluster, around)));
  const provenance = aggregate(
    wishes(cluster, around, warnings).filter((wish) => isUseful(wish, exemptions, warnings)),
  );
  const destinations = nameAll(provenance);

  if (destinations.length === 0) {
    const reason = whyNothing(node, cluster, around, warnings);
    if (reason) return reason;
  }
  if (pods.length === 0) {
    warnings.push({ code: 'any-source', detail: 'No pod range is known, so the rules match any source.' });
  }
  const ruleSet: RuleSet = {
    generation,
    randomFully: cluster.randomFully,
    ...(cluster.out === undefined ? {} : { out: cluster.out }),
    sources: aggregate(pods.map((cidr) => ({ cidr }))).map(({ cidr }) => cidr),
    exemptions,
    destinations,
    probes: usefulProbes(cluster, destinations, exemptions, warnings),
  };
  return { kind: 'rule-set', ruleSet, id: ruleSetId(ruleSet), provenance, warnings };
}

function exempted(cluster: ClusterConfig, around: Surroundings): NamedCidr[] {
  const named = (name: string, cidrs: readonly Cidr[]) => cidrs.map((cidr) => ({ cidr, name }));
  return [
    ...named('pods', [...cluster.pods, ...around.podRanges]),
    ...named('services', cluster.services),
    ...named('network', around.networkRanges),
    ...named('except', cluster.except),
  ];
}

function wishes(cluster: ClusterConfig, around: Surroundings, warnings: Warning[]): Wish[] {
  return cluster.masquerade.flatMap((entry): Wish[] => {
    if (typeof entry !== 'string') return [{ ...entry, from: 'config' }];
    if (!around.kindsLookedUp.includes(entry)) {
      warnings.push({
        code: 'not-looked-up',
        detail: `${entry} cannot be looked up for this node; give the ranges as cidr.`,
      });
    }
    if (entry === 'peerings' && around.arePodsRouted) return [];
    return around.routes.filter(({ kind }) => kind === entry).flatMap((route) => wishFor(route, warnings));
  });
}

function wishFor(route: Route, warnings: Warning[]): Wish[] {
  if (route.state === 'blackhole') {
    warnings.push({
      code: 'blackhole',
      detail: `The route to ${route.destination} through ${route.via} leads nowhere.`,
    });
    return [];
  }
  try {
    return [{ cidr: parseCidr(route.destination), name: toName(route.via), from: route }];
  } catch (error) {
    warnings.push({
      code: 'unreadable-route',
      detail: `A route through ${route.via} is left out: ${messageOf(error)}.`,
    });
    return [];
  }
}

/** Leaves out destinations that must not be masqueraded to at all, and says so. */
function isUseful({ cidr, name }: Wish, exemptions: readonly NamedCidr[], warnings: Warning[]): boolean {
  const why = whyReserved(cidr);
  if (why) {
    warnings.push({
      code: 'reserved-range',
      detail: `${cidr.text} (${name}) is left out: it ${why}. Give the ranges behind it as cidr.`,
    });
    return false;
  }
  const inTheWay = exemptions.filter((exemption) => overlaps(exemption.cidr, cidr));
  const list = inTheWay.map((exemption) => `${exemption.cidr.text} ${exemption.name}`).join(', ');
  if (
    subtract(
      cidr,
      inTheWay.map((exemption) => exemption.cidr),
    ).length === 0
  ) {
    warnings.push({
      code: 'destination-exempt',
      detail: `${cidr.text} (${name}) is left out: it is exempt as ${list}.`,
    });
    return false;
  }
  if (inTheWay.length > 0) {
    warnings.push({
      code: 'destination-overlaps',
      detail: `${cidr.text} (${name}) is masqueraded to, except ${list}.`,
    });
  }
  return true;
}

function usefulProbes(
  cluster: ClusterConfig,
  destinations: readonly NamedCidr[],
  exemptions: readonly NamedCidr[],
  warnings: Warning[],
): ClusterConfig['probe'] {
  return cluster.probe.filter((probe) => {
    const holds = ({ cidr }: NamedCidr) => contains(cidr, probe.address);
    const isMasqueraded = destinations.some(holds) && !exemptions.some(holds);
    if (!isMasqueraded) {
      warnings.push({
        code: 'probe-outside',
        detail: `The probe ${printProbe(probe)} is left out: nothing masquerades to it.`,
      });
    }
    return isMasqueraded;
  });
}

/** Why a node gets no rule set; undefined when it has one in force that an empty one must take away. */
function whyNothing(
  node: Node,
  cluster: ClusterConfig,
  around: Surroundings,
  warnings: readonly Warning[],
): Plan | undefined {
  const arePodsRouted = around.arePodsRouted && cluster.masquerade.includes('peerings');
  const asksDiscovery = cluster.masquerade.some((entry) => typeof entry === 'string');
  if (node.recorded && asksDiscovery && !arePodsRouted) {
    return {
      kind: 'hold',
      detail: `No route was found in ${around.network} for ${cluster.masquerade.filter((entry) => typeof entry === 'string').join(', ')}; the rules in force stay.`,
      warnings,
    };
  }
  if (node.recorded) return undefined;
  return arePodsRouted
    ? skip(
        'pods-routed',
        'Not needed: its pods have addresses that peered networks have routes to.',
        warnings,
      )
    : skip('nothing-to-masquerade', `No destination was found in ${around.network}.`, warnings);
}

/** Each range named after what asked for exactly it, else after the first that asked and how many more did. */
function nameAll<T extends NamedCidr>(ranges: readonly Aggregate<T>[]): NamedCidr[] {
  return ranges.map(({ cidr, from }) => {
    const exact = from.filter((entry) => entry.cidr.text === cidr.text);
    const names = [...new Set((exact.length > 0 ? exact : from).map(({ name }) => name))].toSorted();
    const [first = '-', ...others] = names;
    if (others.length === 0) return { cidr, name: first };
    const more = `/and-${others.length}-more`;
    return { cidr, name: `${first.slice(0, 63 - more.length)}${more}` };
  });
}
