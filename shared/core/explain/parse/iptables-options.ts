import { parseRange } from '../address';
import type { AddressOf, PortOf, Range, Condition } from '../model';

/** What one option of a match says; undefined where its value cannot be read. */
export interface OptionParser {
  readonly values: number;
  readonly parse: (values: readonly string[], all: readonly string[]) => Condition | undefined;
}

const protocols: Readonly<Record<string, number>> = {
  ...{ icmp: 1, tcp: 6, udp: 17, dccp: 33, gre: 47, esp: 50, ah: 51, sctp: 132, udplite: 136 },
  ...{ icmpv6: 58, 'ipv6-icmp': 58, icmp6: 58, igmp: 2, ipip: 4, ipencap: 4, ospf: 89, vrrp: 112 },
};

export function protocolCondition(name: string): Condition | undefined {
  if (name === 'all' || name === '0') return { kind: 'constant', matched: true };
  const number = /^\d{1,3}$/.test(name) ? Number(name) : protocols[name];
  return number === undefined ? undefined : { kind: 'protocol', ranges: [{ first: number, last: number }] };
}

export function addressCondition(of: AddressOf, text: string): Condition | undefined {
  const parse = parseRange(text);
  return parse && { kind: 'address', of, family: parse.family, ranges: [parse.range] };
}

/** `80`, `80:90`, and of NAT targets `80-90`. */
export function parsePortRange(text: string): Range<number> | undefined {
  const match = /^(\d{0,5})(?:([:-])(\d{0,5}))?$/.exec(text);
  if (!match || text === '') return undefined;
  const [, from = '', separator, to = ''] = match;
  const first = Number(from);
  const last = separator === undefined ? first : to === '' ? 65535 : Number(to);
  return first <= last && last <= 65535 ? { first, last } : undefined;
}

function portCondition(of: PortOf, text: string): Condition | undefined {
  const ranges = text.split(',').map(parsePortRange);
  return ranges.every((range) => range !== undefined) ? { kind: 'port', of, ranges } : undefined;
}

const number = /^(0x[0-9a-f]{1,8}|\d{1,10})$/i;

export function parseUint32(text: string): number | undefined {
  const value = number.test(text) ? Number(text) : NaN;
  return value <= 0xffffffff ? value : undefined;
}

/** `0x4000/0x4000`; a mark without mask is the whole mark. */
export function parseMaskedValue(text: string): { value: number; mask: number } | undefined {
  const [left = '', right = '0xffffffff', ...rest] = text.split('/');
  const value = parseUint32(left);
  const mask = parseUint32(right);
  return value === undefined || mask === undefined || rest.length > 0 ? undefined : { value, mask };
}

const markOption = (of: 'packet' | 'connection'): Record<string, OptionParser> => ({
  '--mark': {
    values: 1,
    parse: ([text = '']) => {
      const mark = parseMaskedValue(text);
      return mark && { kind: 'mark', of, mask: mark.mask, ranges: [{ first: mark.value, last: mark.value }] };
    },
  },
});

const singleValue = (
  parse: (value: string, all: readonly string[]) => Condition | undefined,
): OptionParser => ({
  values: 1,
  parse: ([value = ''], all) => parse(value, all),
});

const alwaysMatches: OptionParser = { values: 1, parse: () => ({ kind: 'constant', matched: true }) };

const ports: Record<string, OptionParser> = Object.fromEntries(
  (
    [
      [['--sport', '--source-port', '--sports', '--source-ports'], 'source'],
      [['--dport', '--destination-port', '--dports', '--destination-ports'], 'destination'],
      [['--ports'], 'either'],
    ] as const
  ).flatMap(([names, of]) => names.map((name) => [name, singleValue((text) => portCondition(of, text))])),
);

function addrtypeOn(of: 'source' | 'destination'): OptionParser {
  return singleValue((text, all) => ({
    kind: 'addrtype',
    of,
    types: text.split(','),
    ...(all.includes('--limit-iface-in')
      ? { on: 'in' }
      : all.includes('--limit-iface-out')
        ? { on: 'out' }
        : {}),
  }));
}

/** The test of `limit-iface` is part of the types beside it. */
const flag: OptionParser = { values: 0, parse: () => ({ kind: 'constant', matched: true }) };

const states = (text: string): Condition => ({ kind: 'state', states: text.split(',') });

/** Only a probability of 0 or 1 is known beforehand. */
function probabilityCondition(text: string): Condition | undefined {
  const probability = Number(text);
  if (probability === 0 || probability === 1) return { kind: 'constant', matched: probability === 1 };
  return undefined;
}

function setCondition(values: readonly string[]): Condition | undefined {
  const [name = '', flags = ''] = values;
  const of = flags.split(',').map((flag) => (({ src: 'source', dst: 'destination' }) as const)[flag]);
  return of.every((side) => side !== undefined) ? { kind: 'set', name, of } : undefined;
}

const tcpFlags = (text: string): string[] =>
  text === 'NONE' ? [] : text === 'ALL' ? ['FIN', 'SYN', 'RST', 'PSH', 'ACK', 'URG'] : text.split(',');

const icmpTypes: Readonly<Record<string, string>> = {
  any: 'any',
  'echo-request': 'request',
  ping: 'request',
};

function icmpCondition(request: number, text: string): Condition | undefined {
  const name = icmpTypes[text];
  if (name === 'any' || text === '255') return { kind: 'constant', matched: true };
  const match = /^(\d{1,3})(?:\/(\d{1,3}))?$/.exec(name === 'request' ? String(request) : text);
  return match
    ? { kind: 'icmp', type: Number(match[1]), code: match[2] === undefined ? undefined : Number(match[2]) }
    : undefined;
}

const transport: Record<string, OptionParser> = {
  ...ports,
  '--tcp-flags': {
    values: 2,
    parse: ([mask = '', set = '']) => ({ kind: 'tcp-flags', mask: tcpFlags(mask), set: tcpFlags(set) }),
  },
  '--syn': {
    values: 0,
    parse: () => ({ kind: 'tcp-flags', mask: ['FIN', 'SYN', 'RST', 'ACK'], set: ['SYN'] }),
  },
};

/** The options that are understood, by module. A match with any other is unknown as a whole. */
export const matchModules: Readonly<Record<string, Readonly<Record<string, OptionParser>>>> = {
  tcp: transport,
  udp: ports,
  sctp: ports,
  udplite: ports,
  dccp: ports,
  multiport: ports,
  icmp: { '--icmp-type': singleValue((text) => icmpCondition(8, text)) },
  icmp6: { '--icmpv6-type': singleValue((text) => icmpCondition(128, text)) },
  icmpv6: { '--icmpv6-type': singleValue((text) => icmpCondition(128, text)) },
  mark: markOption('packet'),
  connmark: markOption('connection'),
  comment: { '--comment': alwaysMatches },
  addrtype: {
    '--src-type': addrtypeOn('source'),
    '--dst-type': addrtypeOn('destination'),
    '--limit-iface-in': flag,
    '--limit-iface-out': flag,
  },
  iprange: {
    '--src-range': singleValue((text) => addressCondition('source', text)),
    '--dst-range': singleValue((text) => addressCondition('destination', text)),
  },
  set: { '--match-set': { values: 2, parse: setCondition } },
  state: { '--state': singleValue(states) },
  conntrack: {
    '--ctstate': singleValue(states),
    '--ctproto': singleValue(protocolCondition),
    '--ctorigsrc': singleValue((text) => addressCondition('original-source', text)),
    '--ctorigdst': singleValue((text) => addressCondition('original-destination', text)),
    '--ctorigsrcport': singleValue((text) => portCondition('original-source', text)),
    '--ctorigdstport': singleValue((text) => portCondition('original-destination', text)),
    '--ctdir': singleValue((text) => ({ kind: 'constant', matched: text.toUpperCase() === 'ORIGINAL' })),
  },
  statistic: {
    '--mode': alwaysMatches,
    '--probability': singleValue(probabilityCondition),
    '--every': singleValue((text) => (text === '1' ? { kind: 'constant', matched: true } : undefined)),
    '--packet': alwaysMatches,
  },
};

/** Options that every rule takes. `-f`: the first packet of a connection is no later fragment. */
export const generalOptions: Readonly<Record<string, OptionParser>> = {
  '-s': singleValue((text) => addressCondition('source', text)),
  '-d': singleValue((text) => addressCondition('destination', text)),
  '-i': singleValue((text) => ({ kind: 'interface', of: 'in', names: [text] })),
  '-o': singleValue((text) => ({ kind: 'interface', of: 'out', names: [text] })),
  '-p': singleValue(protocolCondition),
  '-f': { values: 0, parse: () => ({ kind: 'constant', matched: false }) },
};

export const optionAliases: Readonly<Record<string, string>> = {
  ...{ '--source': '-s', '--src': '-s', '--destination': '-d', '--dst': '-d', '--in-interface': '-i' },
  ...{ '--out-interface': '-o', '--protocol': '-p', '--proto': '-p', '--fragment': '-f', '--match': '-m' },
  ...{ '--jump': '-j', '--goto': '-g' },
};
