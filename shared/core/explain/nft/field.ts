import { protocolTest } from '../options';
import type { Family, MarkOf, Match, Test } from '../model';
import { listOf, objectOf, short, textOf, wordOf, type Json, type JsonObject } from './json';
import { addressSpans, linear, maxDepth, numberSpan, whole } from './value';

interface Field {
  readonly needs: readonly Match[];
  readonly test: (values: readonly Json[]) => Test | undefined;
}

const needs = (test: Test, text: string): Match => ({ ...test, negated: false, text });
/** What nft does not print has no text. */
const isIpv = (family: Family): Match => needs({ kind: 'family', family }, '');

/** The words for the left side of a match, and how values are compared with it. */
export function fieldOf(left: Json, depth = 0): [string, Field | undefined] {
  const { payload, meta, ct, fib } = objectOf(left);
  if (payload) return payloadField(textOf(objectOf(payload)['protocol']), textOf(objectOf(payload)['field']));
  if (meta) return metaField(textOf(objectOf(meta)['key']));
  if (ct) return ctField(textOf(objectOf(ct)['key']), textOf(objectOf(ct)['dir']));
  if (fib) return fibField(objectOf(fib));
  const masked = linear(left, 0);
  if (masked?.from && masked.xor === 0) return markField(masked.from, masked.mask);
  return [depth < maxDepth ? composed(left, depth) : short(left), undefined];
}

/** Fields side by side, or with bits taken out. */
function composed(left: Json, depth: number): string {
  const [operator = '', operands] = Object.entries(objectOf(left))[0] ?? [];
  const parts = listOf(operands).map((part) =>
    Array.isArray(part) ? `(${short(part)})` : fieldOf(part, depth + 1)[0],
  );
  if (operator === 'concat') return parts.join(' . ');
  return ['&', '|', '^'].includes(operator) ? parts.join(` ${operator} `) : short(left);
}

function payloadField(protocol: string, name: string): [string, Field | undefined] {
  const words = `${protocol} ${name}`;
  const side = { saddr: 'source', daddr: 'destination', sport: 'source', dport: 'destination' }[name] as
    'source' | 'destination' | undefined;
  const family = { ip: 4, ip6: 6 }[protocol] as Family | undefined;
  if (family && side) return [words, addressField(side, family)];
  if (family && (name === 'protocol' || name === 'nexthdr'))
    return [words, { ...protocolField, needs: [isIpv(family)] }];
  if (!side || !['tcp', 'udp', 'th'].includes(protocol)) return [words, undefined];
  const carrier = protocol === 'th' ? undefined : protocolTest(protocol);
  return [
    words,
    {
      needs: carrier ? [needs(carrier, '')] : [],
      test: (values) => {
        const spans = values.map(numberSpan);
        return spans.every((span) => span !== undefined) ? { kind: 'port', of: side, spans } : undefined;
      },
    },
  ];
}

const addressField = (of: 'source' | 'destination', family: Family): Field => ({
  needs: [isIpv(family)],
  test: (values) => {
    const spans = values.map(addressSpans);
    if (!spans.every((span) => span?.family === family)) return undefined;
    return { kind: 'address', of, family, spans: spans.flatMap((span) => span?.spans ?? []) };
  },
});

const protocolField: Field = {
  needs: [],
  test: (values) => {
    const tests = values.map((value) => protocolTest(wordOf(value)));
    const spans = tests.flatMap((test) => (test?.kind === 'protocol' ? test.spans : []));
    return spans.length === values.length ? { kind: 'protocol', spans } : undefined;
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
      return [`meta ${key}`, { needs: [], test: familyTest }];
    case 'mark':
      return markField('packet', whole);
    default:
      return [`meta ${key}`, undefined];
  }
}

const interfaceField = (of: 'in' | 'out'): Field => ({
  needs: [],
  test: (values) => ({
    kind: 'interface',
    of,
    names: values.map((name) => wordOf(name).replace(/\*$/, '+')),
  }),
});

function familyTest(values: readonly Json[]): Test | undefined {
  const families = values.map(
    (value) => ({ ipv4: 4, ip: 4, ipv6: 6, ip6: 6 })[wordOf(value)] as Family | undefined,
  );
  const [family, ...others] = families;
  return family && others.length === 0 ? { kind: 'family', family } : undefined;
}

function markField(of: MarkOf, mask: number): [string, Field] {
  const test = (values: readonly Json[]): Test | undefined => {
    const spans = values.map(numberSpan);
    return spans.every((span) => span !== undefined) ? { kind: 'mark', of, mask, spans } : undefined;
  };
  const words = of === 'packet' ? 'meta mark' : 'ct mark';
  return [mask === whole ? words : `${words} & 0x${mask.toString(16)}`, { needs: [], test }];
}

function ctField(key: string, direction: string): [string, Field | undefined] {
  const words = ['ct', direction, key].filter((word) => word !== '').join(' ');
  const names = (values: readonly Json[]) => values.map((value) => wordOf(value).toUpperCase());
  switch (key) {
    case 'mark':
      return markField('connection', whole);
    case 'state':
      return [words, { needs: [], test: (values) => ({ kind: 'state', states: names(values) }) }];
    case 'status':
      return [words, { needs: [], test: statusTest }];
    case 'direction':
      return [
        words,
        { needs: [], test: (values) => ({ kind: 'constant', answer: names(values).includes('ORIGINAL') }) },
      ];
    default:
      return [words, undefined];
  }
}

/** Of a first packet only translation is known. */
function statusTest(values: readonly Json[]): Test | undefined {
  return values.length === 1 && values[0] === 'dnat' ? { kind: 'state', states: ['DNAT'] } : undefined;
}

function fibField({ flags, result }: JsonObject): [string, Field | undefined] {
  const names = typeof flags === 'string' ? [flags] : listOf(flags).map(textOf);
  const words = `fib ${names.join(' . ')} ${textOf(result)}`;
  const of = names.includes('daddr') ? 'destination' : 'source';
  if (result !== 'type' || names.includes('mark')) return [words, undefined];
  const on = names.includes('iif') ? 'in' : names.includes('oif') ? 'out' : undefined;
  const test = (values: readonly Json[]): Test => ({
    ...{ kind: 'addrtype', of, types: values.map((value) => wordOf(value).toUpperCase()) },
    ...{ isOne: true, ...(on && { on }) },
  });
  return [words, { needs: [], test }];
}
