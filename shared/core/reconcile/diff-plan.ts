import { diffArrays, type ChangeObject } from 'diff';
import { subtract, type Aggregate, type Cidr } from '../model/cidr';
import { ruleSetLines, type RuleSet } from '../model/rule-set';
import { definedOnly } from '../util/collections';
import type { DestinationRequest } from '../masquerading/requests';
import type { Plan } from './plan';

/** A line of the diff between two rule sets. */
export interface DiffLine {
  readonly sign: '+' | '-' | ' ';
  readonly text: string;
  /** The config lines and routes that request the destination. */
  readonly from?: readonly string[];
}

/** @param before the rule set in force; if absent, every line is new */
export function diffPlan(
  { ruleSet, provenance }: Extract<Plan, { kind: 'rule-set' }>,
  before: RuleSet | undefined,
): DiffLine[] {
  const originsByCidr = new Map(provenance.map((range) => [range.cidr.text, describeOrigins(range)]));
  const toLine = (sign: DiffLine['sign'], text: string): DiffLine => {
    const [kind, cidr = ''] = text.split(' ');
    const hasOrigins = sign !== '-' && kind === 'masquerade';
    return definedOnly({ sign, text, from: hasOrigins ? originsByCidr.get(cidr) : undefined });
  };
  return diffArrays(before ? ruleSetLines(before) : [], ruleSetLines(ruleSet)).flatMap((change) =>
    change.value.map((text) => toLine(signOf(change), text)),
  );
}

function signOf({ added, removed }: Pick<ChangeObject<string[]>, 'added' | 'removed'>): DiffLine['sign'] {
  if (added) return '+';
  return removed ? '-' : ' ';
}

/** Describes the config lines and routes that request a destination, without duplicates. */
export function describeOrigins({ from }: Aggregate<DestinationRequest>): string[] {
  const texts = from.map((request) =>
    request.from === 'config'
      ? `peermasq.yaml: ${request.cidr.text} ${request.name}`
      : `${request.from.kind}: route to ${request.from.destination} through ${request.from.via}`,
  );
  return [...new Set(texts)];
}

export interface DestinationDiff {
  readonly added: readonly Cidr[];
  readonly removed: readonly Cidr[];
  readonly podRangesChange: boolean;
}

/** Returns the ranges whose masquerading starts or stops. Exemptions are taken into account. */
export function diffDestinations(after: RuleSet, before: RuleSet | undefined): DestinationDiff {
  const rangesAfter = masqueradedRanges(after);
  const rangesBefore = before ? masqueradedRanges(before) : [];
  const podsOf = ({ sources }: RuleSet) => sources.map(({ text }) => text).join(' ');
  return {
    added: rangesAfter.flatMap((range) => subtract(range, rangesBefore)),
    removed: rangesBefore.flatMap((range) => subtract(range, rangesAfter)),
    podRangesChange: before !== undefined && rangesAfter.length > 0 && podsOf(before) !== podsOf(after),
  };
}

function masqueradedRanges({ destinations, exemptions }: RuleSet): Cidr[] {
  const exempt = exemptions.map(({ cidr }) => cidr);
  return destinations.flatMap(({ cidr }) => subtract(cidr, exempt));
}
