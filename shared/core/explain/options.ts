import { readSpan } from './address';
import type { AddressOf, PortOf, Span, Test } from './model';

/** What one option of a match says; undefined where its value cannot be read. */
export interface Option {
  readonly values: number;
  readonly read: (values: readonly string[], all: readonly string[]) => Test | undefined;
}

const protocols: Readonly<Record<string, number>> = {
  ...{ icmp: 1, tcp: 6, udp: 17, dccp: 33, gre: 47, esp: 50, ah: 51, sctp: 132, udplite: 136 },
  ...{ icmpv6: 58, 'ipv6-icmp': 58, icmp6: 58, igmp: 2, ipip: 4, ipencap: 4, ospf: 89, vrrp: 112 },
};

export function protocolTest(name: string): Test | undefined {
  if (name === 'all' || name === '0') return { kind: 'constant', answer: true };
  const number = /^\d{1,3}$/.test(name) ? Number(name) : protocols[name];
  return number === undefined ? undefined : { kind: 'protocol', spans: [{ first: number, last: number }] };
}

export function addressTest(of: AddressOf, text: string): Test | undefined {
  const read = readSpan(text);
  return read && { kind: 'address', of, family: read.family, spans: [read.span] };
}

/** `80`, `80:90`, and of NAT targets `80-90`. */
export function readPorts(text: string): Span<number> | undefined {
  const match = /^(\d{0,5})(?:([:-])(\d{0,5}))?$/.exec(text);
  if (!match || text === '') return undefined;
  const [, from = '', separator, to = ''] = match;
  const first = Number(from);
  const last = separator === undefined ? first : to === '' ? 65535 : Number(to);
  return first <= last && last <= 65535 ? { first, last } : undefined;
}

function portTest(of: PortOf, text: string): Test | undefined {
  const spans = text.split(',').map(readPorts);
  return spans.every((span) => span !== undefined) ? { kind: 'port', of, spans } : undefined;
}

const number = /^(0x[0-9a-f]{1,8}|\d{1,10})$/i;

export function readNumber(text: string): number | undefined {
  const value = number.test(text) ? Number(text) : NaN;
  return value <= 0xffffffff ? value : undefined;
}

/** `0x4000/0x4000`; a mark without mask is the whole mark. */
export function readMasked(text: string): { value: number; mask: number } | undefined {
  const [left = '', right = '0xffffffff', ...rest] = text.split('/');
  const value = readNumber(left);
  const mask = readNumber(right);
  return value === undefined || mask === undefined || rest.length > 0 ? undefined : { value, mask };
}

const markOption = (of: 'packet' | 'connection'): Record<string, Option> => ({
  '--mark': {
    values: 1,
    read: ([text = '']) => {
      const mark = readMasked(text);
      return mark && { kind: 'mark', of, mask: mark.mask, spans: [{ first: mark.value, last: mark.value }] };
    },
  },
});

const one = (read: (value: string, all: readonly string[]) => Test | undefined): Option => ({
  values: 1,
  read: ([value = ''], all) => read(value, all),
});

const holdsAlways: Option = { values: 1, read: () => ({ kind: 'constant', answer: true }) };

const ports: Record<string, Option> = Object.fromEntries(
  (
    [
      [['--sport', '--source-port', '--sports', '--source-ports'], 'source'],
      [['--dport', '--destination-port', '--dports', '--destination-ports'], 'destination'],
      [['--ports'], 'either'],
    ] as const
  ).flatMap(([names, of]) => names.map((name) => [name, one((text) => portTest(of, text))])),
);

function addrtypeOn(of: 'source' | 'destination'): Option {
  return one((text, all) => ({
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
const flag: Option = { values: 0, read: () => ({ kind: 'constant', answer: true }) };

const states = (text: string): Test => ({ kind: 'state', states: text.split(',') });

/** Only a probability of 0 or 1 is known beforehand. */
function chance(text: string): Test | undefined {
  const probability = Number(text);
  if (probability === 0 || probability === 1) return { kind: 'constant', answer: probability === 1 };
  return undefined;
}

function setTest(values: readonly string[]): Test | undefined {
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

function icmpTest(request: number, text: string): Test | undefined {
  const name = icmpTypes[text];
  if (name === 'any' || text === '255') return { kind: 'constant', answer: true };
  const match = /^(\d{1,3})(?:\/(\d{1,3}))?$/.exec(name === 'request' ? String(request) : text);
  return match
    ? { kind: 'icmp', type: Number(match[1]), code: match[2] === undefined ? undefined : Number(match[2]) }
    : undefined;
}

const transport: Record<string, Option> = {
  ...ports,
  '--tcp-flags': {
    values: 2,
    read: ([mask = '', set = '']) => ({ kind: 'tcp-flags', mask: tcpFlags(mask), set: tcpFlags(set) }),
  },
  '--syn': {
    values: 0,
    read: () => ({ kind: 'tcp-flags', mask: ['FIN', 'SYN', 'RST', 'ACK'], set: ['SYN'] }),
  },
};

/** The options that are understood, by module. A match with any other is unknown as a whole. */
export const modules: Readonly<Record<string, Readonly<Record<string, Option>>>> = {
  tcp: transport,
  udp: ports,
  sctp: ports,
  udplite: ports,
  dccp: ports,
  multiport: ports,
  icmp: { '--icmp-type': one((text) => icmpTest(8, text)) },
  icmp6: { '--icmpv6-type': one((text) => icmpTest(128, text)) },
  icmpv6: { '--icmpv6-type': one((text) => icmpTest(128, text)) },
  mark: markOption('packet'),
  connmark: markOption('connection'),
  comment: { '--comment': holdsAlways },
  addrtype: {
    '--src-type': addrtypeOn('source'),
    '--dst-type': addrtypeOn('destination'),
    '--limit-iface-in': flag,
    '--limit-iface-out': flag,
  },
  iprange: {
    '--src-range': one((text) => addressTest('source', text)),
    '--dst-range': one((text) => addressTest('destination', text)),
  },
  set: { '--match-set': { values: 2, read: setTest } },
  state: { '--state': one(states) },
  conntrack: {
    '--ctstate': one(states),
    '--ctproto': one(protocolTest),
    '--ctorigsrc': one((text) => addressTest('original-source', text)),
    '--ctorigdst': one((text) => addressTest('original-destination', text)),
    '--ctorigsrcport': one((text) => portTest('original-source', text)),
    '--ctorigdstport': one((text) => portTest('original-destination', text)),
    '--ctdir': one((text) => ({ kind: 'constant', answer: text.toUpperCase() === 'ORIGINAL' })),
  },
  statistic: {
    '--mode': holdsAlways,
    '--probability': one(chance),
    '--every': one((text) => (text === '1' ? { kind: 'constant', answer: true } : undefined)),
    '--packet': holdsAlways,
  },
};

/** Options that every rule takes. `-f`: the first packet of a connection is no later fragment. */
export const general: Readonly<Record<string, Option>> = {
  '-s': one((text) => addressTest('source', text)),
  '-d': one((text) => addressTest('destination', text)),
  '-i': one((text) => ({ kind: 'interface', of: 'in', names: [text] })),
  '-o': one((text) => ({ kind: 'interface', of: 'out', names: [text] })),
  '-p': one(protocolTest),
  '-f': { values: 0, read: () => ({ kind: 'constant', answer: false }) },
};

export const longNames: Readonly<Record<string, string>> = {
  ...{ '--source': '-s', '--src': '-s', '--destination': '-d', '--dst': '-d', '--in-interface': '-i' },
  ...{ '--out-interface': '-o', '--protocol': '-p', '--proto': '-p', '--fragment': '-f', '--match': '-m' },
  ...{ '--jump': '-j', '--goto': '-g' },
};
