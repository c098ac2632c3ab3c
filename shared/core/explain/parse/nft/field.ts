import { protocolCondition } from '../iptables-options';
import type { Family, MarkOf, RuleMatch, Condition } from '../../model';
import { listOf, objectOf, abbreviate, textOf, scalarText, type JsonValue, type JsonObject } from './json';
import { parseAddressRanges, parseMarkExpression, maxDepth, parseNumberRange, fullMask } from './value';

interface Field {
  readonly implied: readonly RuleMatch[];
  readonly test: (values: readonly JsonValue[]) => Condition | undefined;
}

const implied = (test: Condition, text: string): RuleMatch => ({ ...test, negated: false, text });
/** What nft does not print has no text. */
const familyMatch = (family: Family): RuleMatch => implied({ kind: 'family', family }, '');

/** The words for the left side of a match, and how values are compared with it. */
export function parseField(left: JsonValue, depth = 0): [string, Field | undefined] {
  const { payload, meta, ct, fib } = objectOf(left);
  if (payload) return payloadField(textOf(objectOf(payload)['protocol']), textOf(objectOf(payload)['field']));
  if (meta) return metaField(textOf(objectOf(meta)['key']));
  if (ct) return ctField(textOf(objectOf(ct)['key']), textOf(objectOf(ct)['dir']));
  if (fib) return fibField(objectOf(fib));
  const masked = parseMarkExpression(left, 0);
  if (masked?.from && masked.xor === 0) return markField(masked.from, masked.mask);
  return [depth < maxDepth ? describeComposed(left, depth) : abbreviate(left), undefined];
}

/** Fields side by side, or with bits taken out. */
function describeComposed(left: JsonValue, depth: number): string {
  const [operator = '', operands] = Object.entries(objectOf(left))[0] ?? [];
  const parts = listOf(operands).map((part) =>
    Array.isArray(part) ? `(${abbreviate(part)})` : parseField(part, depth + 1)[0],
  );
  if (operator === 'concat') return parts.join(' . ');
  return ['&', '|', '^'].includes(operator) ? parts.join(` ${operator} `) : abbreviate(left);
}

function payloadField(protocol: string, name: string): [string, Field | undefined] {
  const label = `${protocol} ${name}`;
  const side = { saddr: 'source', daddr: 'destination', sport: 'source', dport: 'destination' }[name] as
    'source' | 'destination' | undefined;
  const family = { ip: 4, ip6: 6 }[protocol] as Family | undefined;
  if (family && side) return [label, addressField(side, family)];
  if (family && (name === 'protocol' || name === 'nexthdr'))
    return [label, { ...protocolField, implied: [familyMatch(family)] }];
  if (!side || !['tcp', 'udp', 'th'].includes(protocol)) return [label, undefined];
  const carrier = protocol === 'th' ? undefined : protocolCondition(protocol);
  return [
    label,
    {
      implied: carrier ? [implied(carrier, '')] : [],
      test: (values) => {
        const ranges = values.map(parseNumberRange);
        return ranges.every((range) => range !== undefined) ? { kind: 'port', of: side, ranges } : undefined;
      },
    },
  ];
}

const addressField = (of: 'source' | 'destination', family: Family): Field => ({
  implied: [familyMatch(family)],
  test: (values) => {
    const ranges = values.map(parseAddressRanges);
    if (!ranges.every((range) => range?.family === family)) return undefined;
    return { kind: 'address', of, family, ranges: ranges.flatMap((range) => range?.ranges ?? []) };
  },
});

const protocolField: Field = {
  implied: [],
  test: (values) => {
    const tests = values.map((value) => protocolCondition(scalarText(value)));
    const ranges = tests.flatMap((test) => (test?.kind === 'protocol' ? test.ranges : []));
    return ranges.length === values.length ? { kind: 'protocol', ranges } : undefined;
  },
};

function metaField(key: string): [string, Field | undefined] {
  switch (key) {
    case 'iifname':
    case 'iif':
    case 'oifname':
    case 'oif':
      return [key, interfaceField(key.startsWith('i') ? 'in' : 'out')];
    case 'l4proto':
      return ['meta l4proto', protocolField];
    case 'nfproto':
    case 'protocol':
      return [`meta ${key}`, { implied: [], test: familyTest }];
    case 'mark':
      return markField('packet', fullMask);
    default:
      return [`meta ${key}`, undefined];
  }
}

const interfaceField = (of: 'in' | 'out'): Field => ({
  implied: [],
  test: (values) => ({
    kind: 'interface',
    of,
    names: values.map((name) => scalarText(name).replace(/\*$/, '+')),
  }),
});

function familyTest(values: readonly JsonValue[]): Condition | undefined {
  const families = values.map(
    (value) => ({ ipv4: 4, ip: 4, ipv6: 6, ip6: 6 })[scalarText(value)] as Family | undefined,
  );
  const [family, ...others] = families;
  return family && others.length === 0 ? { kind: 'family', family } : undefined;
}

function markField(of: MarkOf, mask: number): [string, Field] {
  const test = (values: readonly JsonValue[]): Condition | undefined => {
    const ranges = values.map(parseNumberRange);
    return ranges.every((range) => range !== undefined) ? { kind: 'mark', of, mask, ranges } : undefined;
  };
  const label = of === 'packet' ? 'meta mark' : 'ct mark';
  return [mask === fullMask ? label : `${label} & 0x${mask.toString(16)}`, { implied: [], test }];
}

function ctField(key: string, direction: string): [string, Field | undefined] {
  const label = ['ct', direction, key].filter((part) => part !== '').join(' ');
  const names = (values: readonly JsonValue[]) => values.map((value) => scalarText(value).toUpperCase());
  switch (key) {
    case 'mark':
      return markField('connection', fullMask);
    case 'state':
      return [label, { implied: [], test: (values) => ({ kind: 'state', states: names(values) }) }];
    case 'status':
      return [label, { implied: [], test: statusTest }];
    case 'direction':
      return [
        label,
        {
          implied: [],
          test: (values) => ({ kind: 'constant', matched: names(values).includes('ORIGINAL') }),
        },
      ];
    default:
      return [label, undefined];
  }
}

/** Of a first packet only translation is known. */
function statusTest(values: readonly JsonValue[]): Condition | undefined {
  return values.length === 1 && values[0] === 'dnat' ? { kind: 'state', states: ['DNAT'] } : undefined;
}

function fibField({ flags, result }: JsonObject): [string, Field | undefined] {
  const names = typeof flags === 'string' ? [flags] : listOf(flags).map(textOf);
  const label = `fib ${names.join(' . ')} ${textOf(result)}`;
  const of = names.includes('daddr') ? 'destination' : 'source';
  if (result !== 'type' || names.includes('mark')) return [label, undefined];
  const on = names.includes('iif') ? 'in' : names.includes('oif') ? 'out' : undefined;
  const test = (values: readonly JsonValue[]): Condition => ({
    ...{ kind: 'addrtype', of, types: values.map((value) => scalarText(value).toUpperCase()) },
    ...{ hasSingleType: true, ...(on && { on }) },
  });
  return [label, { implied: [], test }];
}
