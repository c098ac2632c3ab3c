import { contains } from '../model/cidr';
import { checkMasquerading } from './check-masquerading';
import { checkNode, redirectionEvidence } from './check-node';
import { checkProof } from './check-proof';
import type { Check } from './check';
import type { Diagnosis, Findings } from './findings';

/** Runs the checks that people make by hand, in the same order, and finds the first broken one. */
export function diagnose(findings: Findings): Diagnosis {
  const insideCluster = insideClusterEvidence(findings);
  const unlessInsideCluster = (check: Check): Check =>
    insideCluster === undefined
      ? check
      : { name: check.name, state: 'not-needed', evidence: [insideCluster] };
  const reach = findings.reach.map((check) => limitToOneDestination(findings, check));
  const masquerading = unlessInsideCluster({ name: 'masquerading', ...checkMasquerading(findings) });
  const checks: Check[] = [
    { name: 'node', ...checkNode(findings) },
    ...reach.map(unlessInsideCluster),
    masquerading,
    { name: 'proof', ...checkProof(findings, masquerading) },
  ];
  const broken = checks.find(({ state }) => state === 'broken') ?? null;
  return { checks, broken, verdict: verdictOf(checks, broken) };
}

/** Undefined if the destination is outside the cluster, or the cloud routes to it over a peering anyway. */
function insideClusterEvidence({ destination, clusterRanges, reach }: Findings): string | undefined {
  const range = clusterRanges.find(({ cidr }) => contains(cidr, destination));
  const isRoutedByCloud = reach.some(({ name, state }) => name === 'peering' && state !== 'broken');
  if (!range || isRoutedByCloud) return undefined;
  const kind = { pods: 'pod', services: 'service' }[range.of];
  return (
    `${destination.text} is in ${range.cidr.text}, the cluster's ${kind} range, and is routed inside the cluster. ` +
    'Check kube-proxy, the CNI plugin and network policies.'
  );
}

/** The cloud was queried about one destination only: its checks say nothing about others. */
function limitToOneDestination(findings: Findings, check: Check): Check {
  const { rules } = findings;
  if (rules instanceof Error) return check;
  const isDestinationCertain =
    rules.destinations.length <= 1 &&
    rules.destinations.every(({ address, port }) => address !== null && port !== null);
  if (isDestinationCertain) return check;
  return {
    name: check.name,
    state: 'unknown',
    evidence: [...redirectionEvidence(findings), ...check.evidence],
  };
}

function verdictOf(checks: readonly Check[], broken: Check | null): string {
  if (broken) return `The first broken check is ${broken.name}: ${broken.evidence[0] ?? ''}`;
  const unknown = checks.filter(({ state }) => state === 'unknown').map(({ name }) => name);
  const masquerading = checks.find(({ name }) => name === 'masquerading');
  const sentences = [
    'No problems found.',
    ...(unknown.length > 0 ? [`Could not check: ${unknown.join(', ')}.`] : []),
    ...(masquerading?.state === 'not-needed'
      ? [`Masquerading is not needed: ${masquerading.evidence[0] ?? ''}`]
      : []),
    ...(unknown.length === 0 ? ['If it still fails, check the service itself.'] : []),
  ];
  return sentences.join(' ');
}
