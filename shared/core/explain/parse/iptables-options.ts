import type { Condition, Direction, MarkField, PortField, AddressField, Side } from '../model';
import { fullMask, parsePortRange, parseRange, protocolNumber, singleRange } from '../ranges';

/** How one option of a match is parsed. `parse` returns undefined for a value that it does not support. */
export interface OptionParser {
  readonly valueCount: number;
  /** @param moduleTokens all tokens of the module that the option belongs to */
  readonly parse: (values: readonly string[], moduleTokens: readonly string[]) => Condition | undefined;
}

type OptionParsers = Readonly<Record<string, OptionParser>>;

const always: Condition = { kind: 'constant', matched: true };

const singleValue = (
  parse: (value: string, moduleTokens: readonly string[]) => Condition | undefined,
): OptionParser => ({
  valueCount: 1,
  parse: ([value = ''], moduleTokens) => parse(value, moduleTokens),
});

/**
 * The parser for options that do not restrict the match, and for options whose values are read by the parser of another
 * option of the same module.
 */
const ignoredValue = singleValue(() => always);
const ignoredFlag: OptionParser = { valueCount: 0, parse: () => always };

function protocolCondition(name: string): Condition | undefined {
  if (name === 'all' || name === '0') return always;
  const number = protocolNumber(name);
  return number === undefined ? undefined : { kind: 'protocol', ranges: [singleRange(number)] };
}

function addressCondition(field: AddressField, text: string): Condition | undefined {
  const parsed = parseRange(text);
  return parsed && { kind: 'address', field, family: parsed.family, ranges: [parsed.range] };
}

const addressOption = (field: AddressField) => singleValue((text) => addressCondition(field, text));

const interfaceOption = (direction: Direction) =>
  singleValue((name) => ({ kind: 'interface', direction, names: [name] }));

const portOption = (field: PortField) =>
  singleValue((text) => {
    const ranges = text.split(',').map(parsePortRange);
    return ranges.every((range) => range !== undefined) ? { kind: 'port', field, ranges } : undefined;
  });

const sourcePort = portOption('source');
const destinationPort = portOption('destination');

const ports: OptionParsers = {
  '--sport': sourcePort,
  '--source-port': sourcePort,
  '--sports': sourcePort,
  '--source-ports': sourcePort,
  '--dport': destinationPort,
  '--destination-port': destinationPort,
  '--dports': destinationPort,
  '--destination-ports': destinationPort,
  '--ports': portOption('either'),
};

export function parseUint32(text: string): number | undefined {
  const value = /^(0x[0-9a-f]{1,8}|\d{1,10})$/i.test(text) ? Number(text) : NaN;
  return value <= fullMask ? value : undefined;
}

/** Parses a value with an optional mask, such as `0x4000/0x4000`. If there is no mask, all bits are compared. */
export function parseMaskedValue(text: string): { value: number; mask: number } | undefined {
  const [left = '', right = String(fullMask), ...rest] = text.split('/');
  const value = parseUint32(left);
  const mask = parseUint32(right);
  return value === undefined || mask === undefined || rest.length > 0 ? undefined : { value, mask };
}

const markOption = (field: MarkField) =>
  singleValue((text) => {
    const mark = parseMaskedValue(text);
    return mark && { kind: 'mark', field, mask: mark.mask, ranges: [singleRange(mark.value)] };
  });

const addrtypeOption = (side: Side) =>
  singleValue((text, moduleTokens) => ({
    kind: 'addrtype',
    side,
    types: text.split(','),
    limitTo: limitedDirection(moduleTokens),
    hasSingleType: false,
  }));

function limitedDirection(moduleTokens: readonly string[]): Direction | undefined {
  if (moduleTokens.includes('--limit-iface-in')) return 'in';
  return moduleTokens.includes('--limit-iface-out') ? 'out' : undefined;
}

const stateOption = singleValue((text) => ({ kind: 'state', states: text.split(',') }));

/** Unless the probability is 0 or 1, the match is random, so its result is unknown. */
function probabilityCondition(text: string): Condition | undefined {
  const probability = Number(text);
  if (probability !== 0 && probability !== 1) return undefined;
  return { kind: 'constant', matched: probability === 1 };
}

function setCondition(values: readonly string[]): Condition | undefined {
  const [name = '', flags = ''] = values;
  const sides = flags.split(',').map((flag) => (({ src: 'source', dst: 'destination' }) as const)[flag]);
  return sides.every((side) => side !== undefined) ? { kind: 'set', name, sides } : undefined;
}

function parseTcpFlags(text: string): string[] {
  if (text === 'NONE') return [];
  return (text === 'ALL' ? 'FIN,SYN,RST,PSH,ACK,URG' : text).split(',');
}

/** @param echoRequest the ICMP type of a ping in this address family */
const icmpOption = (echoRequest: number) =>
  singleValue((text) => {
    if (text === 'any' || text === '255') return always;
    const isEchoRequest = text === 'echo-request' || text === 'ping';
    const [, type, code] =
      /^(\d{1,3})(?:\/(\d{1,3}))?$/.exec(isEchoRequest ? String(echoRequest) : text) ?? [];
    if (type === undefined) return undefined;
    return { kind: 'icmp', type: Number(type), code: code === undefined ? undefined : Number(code) };
  });

const tcp: OptionParsers = {
  ...ports,
  '--tcp-flags': {
    valueCount: 2,
    parse: ([mask = '', set = '']) => ({
      kind: 'tcp-flags',
      mask: parseTcpFlags(mask),
      set: parseTcpFlags(set),
    }),
  },
  '--syn': {
    valueCount: 0,
    parse: () => ({ kind: 'tcp-flags', mask: ['FIN', 'SYN', 'RST', 'ACK'], set: ['SYN'] }),
  },
};

/** The supported options of each module. Any other option makes the whole match unknown. */
export const matchModules: Readonly<Record<string, OptionParsers>> = {
  tcp,
  udp: ports,
  sctp: ports,
  udplite: ports,
  dccp: ports,
  multiport: ports,
  icmp: { '--icmp-type': icmpOption(8) },
  icmp6: { '--icmpv6-type': icmpOption(128) },
  icmpv6: { '--icmpv6-type': icmpOption(128) },
  mark: { '--mark': markOption('packet') },
  connmark: { '--mark': markOption('connection') },
  comment: { '--comment': ignoredValue },
  addrtype: {
    '--src-type': addrtypeOption('source'),
    '--dst-type': addrtypeOption('destination'),
    '--limit-iface-in': ignoredFlag,
    '--limit-iface-out': ignoredFlag,
  },
  iprange: { '--src-range': addressOption('source'), '--dst-range': addressOption('destination') },
  set: { '--match-set': { valueCount: 2, parse: setCondition } },
  state: { '--state': stateOption },
  conntrack: {
    '--ctstate': stateOption,
    '--ctproto': singleValue(protocolCondition),
    '--ctorigsrc': addressOption('original-source'),
    '--ctorigdst': addressOption('original-destination'),
    '--ctorigsrcport': portOption('original-source'),
    '--ctorigdstport': portOption('original-destination'),
    '--ctdir': singleValue((text) => ({ kind: 'constant', matched: text.toUpperCase() === 'ORIGINAL' })),
  },
  statistic: {
    '--mode': ignoredValue,
    '--probability': singleValue(probabilityCondition),
    '--every': singleValue((text) => (text === '1' ? always : undefined)),
    '--packet': ignoredValue,
  },
};

/**
 * Options that do not belong to a module. `-f` matches only the second and later fragments, so it never matches the
 * first packet.
 */
export const generalOptions: OptionParsers = {
  '-s': addressOption('source'),
  '-d': addressOption('destination'),
  '-i': interfaceOption('in'),
  '-o': interfaceOption('out'),
  '-p': singleValue(protocolCondition),
  '-f': { valueCount: 0, parse: () => ({ kind: 'constant', matched: false }) },
};

export const optionAliases: Readonly<Record<string, string>> = {
  '--source': '-s',
  '--src': '-s',
  '--destination': '-d',
  '--dst': '-d',
  '--in-interface': '-i',
  '--out-interface': '-o',
  '--protocol': '-p',
  '--proto': '-p',
  '--fragment': '-f',
  '--match': '-m',
  '--jump': '-j',
  '--goto': '-g',
};
