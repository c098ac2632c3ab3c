import { diffArrays } from 'diff';
import { subtract, type Aggregate, type Cidr } from '../model/cidr';
import type { Plan, DestinationRequest } from './plan';
import { ruleSetLines, type RuleSet } from '../model/rule-set';

/** One line of a rule set, and what becomes of it. */
export interface DiffLine {
  readonly sign: '+' | '-' | ' ';
  readonly text: string;
  /** What asked for this destination: the config, or routes. */
  readonly from?: readonly string[];
}

/**
 * What a plan would change about the rule set in force, line by line.
 * @param before without it every line is new
 */
export function diffPlan(
  { ruleSet, provenance }: Extract<Plan, { kind: 'rule-set' }>,
  before: RuleSet | undefined,
): DiffLine[] {
  const originsByCidr = new Map(provenance.map((range) => [range.cidr.text, describeOrigins(range)]));
  const toLine = (sign: DiffLine['sign'], text: string): DiffLine => {
    const [kind, cidr = ''] = text.split(' ');
    const from = sign !== '-' && kind === 'masquerade' ? originsByCidr.get(cidr) : undefined;
    return { sign, text, ...(from && { from }) };
  };
  return diffArrays(before ? ruleSetLines(before) : [], ruleSetLines(ruleSet)).flatMap(
    ({ added, removed, value }) => value.map((text) => toLine(added ? '+' : removed ? '-' : ' ', text)),
  );
}

/** Each thing that asked for a destination, once, in words. */
export function describeOrigins({ from }: Aggregate<DestinationRequest>): string[] {
  const texts = from.map((request) =>
    request.from === 'config'
      ? `peermasq.yaml: ${request.cidr.text} ${request.name}`
      : `${request.from.kind}: route to ${request.from.destination} over ${request.from.via}`,
  );
  return [...new Set(texts)];
}

/** What changes about where pods are masqueraded to: exemptions count, not only destinations. */
export function diffDestinations(
  after: RuleSet,
  before: RuleSet | undefined,
): { begin: Cidr[]; end: Cidr[]; podRangesChange: boolean } {
  const [now, then] = [masqueradedRanges(after), before ? masqueradedRanges(before) : []];
  const pods = ({ sources }: RuleSet) => sources.map(({ text }) => text).join(' ');
  return {
    begin: now.flatMap((range) => subtract(range, then)),
    end: then.flatMap((range) => subtract(range, now)),
    podRangesChange: before !== undefined && now.length > 0 && pods(before) !== pods(after),
  };
}

function masqueradedRanges({ destinations, exemptions }: RuleSet): Cidr[] {
  const exempt = exemptions.map(({ cidr }) => cidr);
  return destinations.flatMap(({ cidr }) => subtract(cidr, exempt));
}
