import type { Condition, Direction, Family, MarkField, RuleMatch, Side } from '../../model';
import { fullMask, protocolNumber, singleRange } from '../../ranges';
import {
  formatExpression,
  listOf,
  maxExpressionDepth,
  objectOf,
  parseAddressRanges,
  parseMarkExpression,
  parseNumberRange,
  scalarText,
  textOf,
  textsOf,
  type JsonObject,
  type JsonValue,
} from './values';

/** Parses the right side of a match: the values that the left side is compared with. */
interface FieldParser {
  readonly implied: readonly RuleMatch[];
  /** @returns undefined if the values are not supported */
  readonly parse: (values: readonly JsonValue[]) => Condition | undefined;
}

interface Field {
  /** The field as nft prints it. */
  readonly label: string;
  /** Undefined if the field is not supported. */
  readonly parser: FieldParser | undefined;
}

/** A match that nft implies but does not print. */
const implied = (condition: Condition): RuleMatch => ({ ...condition, isNegated: false, text: '' });
const impliedFamily = (family: Family): RuleMatch => implied({ kind: 'family', family });

const supported = (label: string, parse: FieldParser['parse']): Field => ({
  label,
  parser: { implied: [], parse },
});
const unsupportedField = (label: string): Field => ({ label, parser: undefined });

export function parseField(left: JsonValue, depth = 0): Field {
  const { payload, meta, ct, fib } = objectOf(left);
  if (payload) return payloadField(textOf(objectOf(payload)['protocol']), textOf(objectOf(payload)['field']));
  if (meta) return metaField(textOf(objectOf(meta)['key']));
  if (ct) return ctField(textOf(objectOf(ct)['key']), textOf(objectOf(ct)['dir']));
  if (fib) return fibField(objectOf(fib));
  const mark = parseMarkExpression(left);
  if (mark?.from && mark.xor === 0) return markField(mark.from, mark.mask);
  return unsupportedField(depth < maxExpressionDepth ? formatOperation(left, depth) : formatExpression(left));
}

/** Formats a concatenation of fields, or a field that is compared under a bit mask. */
function formatOperation(left: JsonValue, depth: number): string {
  const [operator = '', operands] = Object.entries(objectOf(left))[0] ?? [];
  const parts = listOf(operands).map((part) =>
    Array.isArray(part) ? `(${formatExpression(part)})` : parseField(part, depth + 1).label,
  );
  if (operator === 'concat') return parts.join(' . ');
  return ['&', '|', '^'].includes(operator) ? parts.join(` ${operator} `) : formatExpression(left);
}

const ipFamilies: ReadonlyMap<string, Family> = new Map([
  ['ip', 4],
  ['ip6', 6],
]);
const fieldSides: ReadonlyMap<string, Side> = new Map([
  ['saddr', 'source'],
  ['daddr', 'destination'],
  ['sport', 'source'],
  ['dport', 'destination'],
]);

function payloadField(protocol: string, name: string): Field {
  const label = `${protocol} ${name}`;
  const side = fieldSides.get(name);
  const family = ipFamilies.get(protocol);
  if (family && side) return addressField(label, side, family);
  if (family && (name === 'protocol' || name === 'nexthdr'))
    return { label, parser: { implied: [impliedFamily(family)], parse: protocolCondition } };
  if (side && ['tcp', 'udp', 'th'].includes(protocol)) return portField(label, side, protocol);
  return unsupportedField(label);
}

const addressField = (label: string, side: Side, family: Family): Field => ({
  label,
  parser: {
    implied: [impliedFamily(family)],
    parse: (values) => {
      const parsed = values.map(parseAddressRanges);
      if (!parsed.every((one) => one?.family === family)) return undefined;
      return { kind: 'address', field: side, family, ranges: parsed.flatMap((one) => one?.ranges ?? []) };
    },
  },
});

function portField(label: string, side: Side, protocol: string): Field {
  const number = protocolNumber(protocol);
  return {
    label,
    parser: {
      implied: number === undefined ? [] : [implied({ kind: 'protocol', ranges: [singleRange(number)] })],
      parse: (values) => {
        const ranges = numberRanges(values);
        return ranges && { kind: 'port', field: side, ranges };
      },
    },
  };
}

function numberRanges(values: readonly JsonValue[]) {
  const ranges = values.map(parseNumberRange);
  return ranges.every((range) => range !== undefined) ? ranges : undefined;
}

function protocolCondition(values: readonly JsonValue[]): Condition | undefined {
  const numbers = values.map((value) => protocolNumber(scalarText(value)));
  return numbers.every((number) => number !== undefined)
    ? { kind: 'protocol', ranges: numbers.map(singleRange) }
    : undefined;
}

function metaField(key: string): Field {
  switch (key) {
    case 'iifname':
    case 'iif':
      return interfaceField(key, 'in');
    case 'oifname':
    case 'oif':
      return interfaceField(key, 'out');
    case 'l4proto':
      return supported('meta l4proto', protocolCondition);
    case 'nfproto':
    case 'protocol':
      return supported(`meta ${key}`, familyCondition);
    case 'mark':
      return markField('packet', fullMask);
    default:
      return unsupportedField(`meta ${key}`);
  }
}

const interfaceField = (label: string, direction: Direction): Field =>
  supported(label, (values) => ({
    kind: 'interface',
    direction,
    names: values.map((name) => scalarText(name).replace(/\*$/, '+')),
  }));

const familyNames: ReadonlyMap<string, Family> = new Map([...ipFamilies, ['ipv4', 4], ['ipv6', 6]]);

function familyCondition(values: readonly JsonValue[]): Condition | undefined {
  const [family, ...others] = values.map((value) => familyNames.get(scalarText(value)));
  return family && others.length === 0 ? { kind: 'family', family } : undefined;
}

function markField(field: MarkField, mask: number): Field {
  const name = field === 'packet' ? 'meta mark' : 'ct mark';
  const label = mask === fullMask ? name : `${name} & 0x${mask.toString(16)}`;
  return supported(label, (values) => {
    const ranges = numberRanges(values);
    return ranges && { kind: 'mark', field, mask, ranges };
  });
}

function ctField(key: string, direction: string): Field {
  const label = ['ct', direction, key].filter((part) => part !== '').join(' ');
  switch (key) {
    case 'mark':
      return markField('connection', fullMask);
    case 'state':
      return supported(label, (values) => {
        const states = namedValues(values, stateNames);
        return states && { kind: 'state', states };
      });
    case 'status':
      return supported(label, statusCondition);
    case 'direction':
      return supported(label, (values) => ({
        kind: 'constant',
        matched: values.some((value) => value === 'original' || value === 0),
      }));
    default:
      return unsupportedField(label);
  }
}

/**
 * The state of the first packet of a connection. Among the status bits, only those for address translation are known.
 */
const statusCondition = (values: readonly JsonValue[]): Condition | undefined =>
  values.length === 1 && (values[0] === 'dnat' || values[0] === 32)
    ? { kind: 'state', states: ['DNAT'] }
    : undefined;

/** The numbers that `nft -n` prints: the kernel's ip_conntrack_info and rtnetlink types. */
const stateNames = new Map([
  [1, 'INVALID'],
  [2, 'ESTABLISHED'],
  [4, 'RELATED'],
  [8, 'NEW'],
  [64, 'UNTRACKED'],
]);
const addressTypeNames = new Map(
  [
    'UNSPEC',
    'UNICAST',
    'LOCAL',
    'BROADCAST',
    'ANYCAST',
    'MULTICAST',
    'BLACKHOLE',
    'UNREACHABLE',
    'PROHIBIT',
  ].entries(),
);

/** @returns the names in upper case; undefined if a number has no name */
function namedValues(values: readonly JsonValue[], names: ReadonlyMap<number, string>): string[] | undefined {
  const texts = values.map((value) =>
    typeof value === 'number' ? names.get(value) : scalarText(value).toUpperCase(),
  );
  return texts.every((text) => text !== undefined) ? texts : undefined;
}

function fibField({ flags, result }: JsonObject): Field {
  const names = textsOf(flags);
  const label = `fib ${names.join(' . ')} ${textOf(result)}`;
  if (result !== 'type' || names.includes('mark')) return unsupportedField(label);
  return supported(label, (values) => {
    const types = namedValues(values, addressTypeNames);
    return (
      types && {
        kind: 'addrtype',
        side: names.includes('daddr') ? 'destination' : 'source',
        types,
        limitTo: limitedDirection(names),
        hasSingleType: true,
      }
    );
  });
}

function limitedDirection(flags: readonly string[]): Direction | undefined {
  if (flags.includes('iif')) return 'in';
  return flags.includes('oif') ? 'out' : undefined;
}
