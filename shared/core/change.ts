import { diffArrays } from 'diff';
import { subtract, type Aggregate, type Cidr } from './cidr';
import type { Plan, Wish } from './plan';
import { ruleSetLines, type RuleSet } from './rule-set';

/** One line of a rule set, and what becomes of it. */
export interface ChangedLine {
  readonly sign: '+' | '-' | ' ';
  readonly text: string;
  /** What asked for this destination: the config, or routes. */
  readonly from?: readonly string[];
}

/**
 * What a plan would change about the rule set in force, line by line.
 * @param before without it every line is new
 */
export function changedLines(
  { ruleSet, provenance }: Extract<Plan, { kind: 'rule-set' }>,
  before: RuleSet | undefined,
): ChangedLine[] {
  const origins = new Map(provenance.map((range) => [range.cidr.text, originOf(range)]));
  const toLine = (sign: ChangedLine['sign'], text: string): ChangedLine => {
    const [kind, cidr = ''] = text.split(' ');
    const from = sign !== '-' && kind === 'masquerade' ? origins.get(cidr) : undefined;
    return { sign, text, ...(from && { from }) };
  };
  return diffArrays(before ? ruleSetLines(before) : [], ruleSetLines(ruleSet)).flatMap(
    ({ added, removed, value }) => value.map((text) => toLine(added ? '+' : removed ? '-' : ' ', text)),
  );
}

/** Each thing that asked for a destination, once, in words. */
export function originOf({ from }: Aggregate<Wish>): string[] {
  const words = from.map((wish) =>
    wish.from === 'config'
      ? `peermasq.yaml: ${wish.cidr.text} ${wish.name}`
      : `${wish.from.kind}: route to ${wish.from.destination} over ${wish.from.via}`,
  );
  return [...new Set(words)];
}

/** What changes about where pods are masqueraded to: exemptions count, not only destinations. */
export function reachChange(
  after: RuleSet,
  before: RuleSet | undefined,
): { begin: Cidr[]; end: Cidr[]; doPodsChange: boolean } {
  const [now, then] = [reachOf(after), before ? reachOf(before) : []];
  const pods = ({ sources }: RuleSet) => sources.map(({ text }) => text).join(' ');
  return {
    begin: now.flatMap((range) => subtract(range, then)),
    end: then.flatMap((range) => subtract(range, now)),
    doPodsChange: before !== undefined && now.length > 0 && pods(before) !== pods(after),
  };
}

function reachOf({ destinations, exemptions }: RuleSet): Cidr[] {
  const exempt = exemptions.map(({ cidr }) => cidr);
  return destinations.flatMap(({ cidr }) => subtract(cidr, exempt));
}
