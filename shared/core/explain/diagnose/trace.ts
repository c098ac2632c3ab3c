import type { Step } from '../explanation';
import { calledChain, type Condition, type Rule, type RuleMatch, type Table, type Ternary } from '../model';
import { formatAddress, formatRange, fullMask } from '../ranges';
import type { Evaluation } from '../simulate/trace';
import { evaluateMatch } from '../simulate/match';
import type { Packet } from '../simulate/packet';
import { addressOf, interfaceOf, markOf } from '../simulate/packet-state';

/** Limits the length of the trace, because a node may have tens of thousands of rules. */
const maxSteps = 200;
const maxNearMisses = 40;

/**
 * Selects the steps to print: rules that matched or may have matched, and rules that would have masqueraded the packet.
 */
export function summarizeTrace(evaluations: readonly Evaluation[]): { path: Step[]; omitted: number } {
  const candidates = nearMisses(evaluations);
  const shown = new Set(candidates.slice(0, maxNearMisses));
  const relevant = evaluations.filter((evaluation) => evaluation.matched !== false || shown.has(evaluation));
  const path = relevant.slice(0, maxSteps).map(stepOf);
  return { path, omitted: relevant.length + candidates.length - shown.size - path.length };
}

/** Returns the rules that would have changed the packet's source if they had matched. */
export function nearMisses(evaluations: readonly Evaluation[]): Evaluation[] {
  const masquerading = new Map<Table, (rule: Rule) => boolean>();
  return evaluations.filter(({ baseChain: { table, isNat, hook }, rule, matched }) => {
    if (matched !== false || !isNat || hook !== 'postrouting') return false;
    const canMasquerade = masquerading.get(table) ?? masqueradeFinder(table);
    masquerading.set(table, canMasquerade);
    return canMasquerade(rule);
  });
}

/**
 * @returns a function that tests whether a rule of the table changes the source, either directly or through a chain
 * that it jumps to
 */
function masqueradeFinder(table: Table): (rule: Rule) => boolean {
  const chains = new Map<string, boolean>();
  const canMasquerade = ({ targets }: Rule): boolean =>
    targets.some((target) => {
      if (target.kind === 'masquerade' || target.kind === 'snat') return true;
      const chain = calledChain(target, table);
      if (!chain) return false;
      const known = chains.get(chain.name);
      if (known !== undefined) return known;
      const result = chain.rules.some(canMasquerade);
      chains.set(chain.name, result);
      return result;
    });
  return canMasquerade;
}

function stepOf(evaluation: Evaluation): Step {
  const { baseChain, chain, rule, matched } = evaluation;
  return {
    backend: baseChain.table.backend,
    table: baseChain.table.name,
    chain: chain.name,
    rule: rule.number,
    text: rule.text,
    result: resultOf(matched),
    reason: reasonOf(evaluation),
  };
}

function resultOf(matched: Ternary): Step['result'] {
  if (matched === 'unknown') return 'unknown';
  return matched ? 'matched' : 'not-matched';
}

function reasonOf(evaluation: Evaluation): string {
  const { rule, matched } = evaluation;
  const describe = (matches: readonly RuleMatch[]) =>
    matches.map((match) => `${match.text} (${describeInput(match, evaluation)})`).join(', ');
  if (matched === false) return `does not match ${describe(failedMatches(evaluation))}`;
  if (matched === true)
    return rule.matches.length === 0 ? 'matches every packet' : `matches ${describe(rule.matches)}`;
  const undecided = matchesThatAre('unknown', evaluation);
  return undecided.length === 0
    ? 'matches in some of the possible cases'
    : `undecided: ${describe(undecided)}`;
}

export const failedMatches = (evaluation: Evaluation) => matchesThatAre(false, evaluation);

const matchesThatAre = (result: Ternary, { rule, state, context }: Evaluation) =>
  rule.matches.filter((match) => evaluateMatch(match, state, context) === result);

/** `POSTROUTING rule 3 (iptables-nft, table nat)` */
export function formatRuleName({ baseChain: { table }, chain, rule }: Evaluation): string {
  const position = rule.number === 0 ? `${chain.name} policy` : `${chain.name} rule ${rule.number}`;
  return `${position} (${table.backend}, table ${table.name})`;
}

type Described = Pick<Evaluation, 'state' | 'context'>;
type MatchOf<Kind extends Condition['kind']> = Extract<RuleMatch, { kind: Kind }>;

/** Returns the reason why a match failed, as a clause that ends a sentence: `the destination is inside 10.0.0.0/8`. */
export function describeMismatch(match: RuleMatch, described: Described): string {
  if (match.kind === 'address' && match.ranges.length === 1) return describeAddressMismatch(match);
  if (match.kind === 'interface') return describeInterfaceMismatch(match);
  return `${match.text} does not match (${describeInput(match, described)})`;
}

function describeAddressMismatch({ field, family, ranges, isNegated }: MatchOf<'address'>): string {
  const subject = `the ${field.replace('-', ' ')}`;
  const verb = isNegated ? 'is' : 'is not';
  const relation = ranges.every(({ first, last }) => first === last) ? verb : `${verb} inside`;
  return `${subject} ${relation} ${ranges.map((range) => formatRange(family, range)).join(' or ')}`;
}

function describeInterfaceMismatch({ direction, names, isNegated }: MatchOf<'interface'>): string {
  const interfaces = names.join(' or ');
  if (direction === 'in')
    return isNegated ? `it arrives on ${interfaces}` : `it does not arrive on ${interfaces}`;
  return isNegated ? `it leaves through ${interfaces}` : `it does not leave through ${interfaces}`;
}

/** Describes the packet's value that a match tests, for example `destination 10.0.3.20`. */
function describeInput(match: RuleMatch, { state, context }: Described): string {
  const { packet, snapshot } = context;
  switch (match.kind) {
    case 'address':
      return `${match.field.replace('-', ' ')} ${formatOptional(addressOf(match.field, state, packet), packet)}`;
    case 'interface': {
      const name = interfaceOf(match.direction, state, context);
      return `interface ${match.direction} ${name === '' ? 'none' : (name ?? 'unknown')}`;
    }
    case 'protocol':
    case 'icmp':
    case 'tcp-flags':
      return `protocol ${packet.protocol}`;
    case 'port':
      return `ports ${packet.sourcePort ?? 'unknown'} to ${state.destinationPort ?? 'unknown'}`;
    case 'mark': {
      const { value, known } = markOf(match.field, state);
      return `${match.field} mark ${known === fullMask ? `0x${value.toString(16)}` : 'unknown'}`;
    }
    case 'addrtype': {
      const address = formatOptional(addressOf(match.side, state, packet), packet);
      const isMissing = snapshot.addresses.length === 0;
      return `${match.side} ${address}${isMissing ? ", and the node's addresses are not in the dump" : ''}`;
    }
    case 'set': {
      if (!snapshot.sets.has(match.name)) return 'the set is not in the dump';
      if (snapshot.changingSets.has(match.name)) return 'rules modify the set at runtime';
      const [side = 'destination'] = match.sides;
      return `${side} ${formatOptional(addressOf(side, state, packet), packet)}`;
    }
    case 'state':
      return 'first packet of a connection';
    case 'unknown':
      return match.reason;
    case 'family':
      return `IPv${packet.source.family}`;
    case 'constant':
    case 'any':
      return 'its values';
  }
}

const formatOptional = (address: bigint | undefined, { source }: Packet) =>
  address === undefined ? 'unknown' : formatAddress(source.family, address);
