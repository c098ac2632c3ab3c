import type { Condition, RuleMatch } from '../model';
import { formatAddress, formatRange, fullMask } from '../ranges';
import type { Packet } from '../simulate/packet';
import { addressOf, interfaceOf, markOf } from '../simulate/packet-state';
import type { Evaluation } from '../simulate/trace';

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
export function describeInput(match: RuleMatch, { state, context }: Described): string {
  const { packet, snapshot } = context;
  switch (match.kind) {
    case 'address':
      return `${match.field.replace('-', ' ')} ${formatOptional(addressOf(match.field, state, packet), packet)}`;
    case 'interface': {
      const name = interfaceOf(match.direction, state, context);
      const isMissing = name === undefined && match.direction === 'out' && state.missingRoute !== undefined;
      const lacks = isMissing ? `, because the dump does not contain ${state.missingRoute}` : '';
      return `interface ${match.direction} ${name === '' ? 'none' : (name ?? 'unknown')}${lacks}`;
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

/** Explains why a match is undecided and, where more information would decide it, what to add. */
export function describeUndecidedMatch(match: RuleMatch, described: Described): string {
  const { state, context } = described;
  const { snapshot } = context;
  const needed = `${match.text} is not known`;
  switch (match.kind) {
    case 'set': {
      if (!snapshot.sets.has(match.name))
        return `set ${match.name} is not in the dump: add the output of \`ipset save\``;
      if (snapshot.changingSets.has(match.name)) return `rules modify set ${match.name} at runtime`;
      return `${needed} (${describeInput(match, described)})`;
    }
    case 'interface': {
      const option = match.direction === 'in' ? '--in' : '--out';
      const isUnknown = interfaceOf(match.direction, state, context) === undefined;
      if (isUnknown && match.direction === 'out' && state.missingRoute !== undefined)
        return `${needed}: the dump does not contain ${state.missingRoute}`;
      const advice = `add the output of \`ip -o addr\`, \`ip route\` and \`ip rule\`, or pass ${option}`;
      return isUnknown ? `${needed}: ${advice}` : `${needed} (${describeInput(match, described)})`;
    }
    case 'addrtype':
      return snapshot.addresses.length === 0
        ? `${needed}: add the output of \`ip -o addr\``
        : `${needed} (${describeInput(match, described)})`;
    case 'port':
      return context.packet.sourcePort === undefined && match.field !== 'destination'
        ? `${needed}: pass --source-port`
        : `${needed} (${describeInput(match, described)})`;
    default:
      return `${match.text} is not known (${describeInput(match, described)})`;
  }
}
