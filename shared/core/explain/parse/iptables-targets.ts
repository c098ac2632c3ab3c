import { itemAfter } from '../../util/collections';
import type { Family, MarkField, Range, RuleTarget } from '../model';
import { fullMask, parsePortRange, parseRange } from '../ranges';
import { parseMaskedValue, parseUint32 } from './iptables-options';

const nonTerminalTargets = new Set([
  'LOG',
  'NFLOG',
  'ULOG',
  'TRACE',
  'AUDIT',
  'CLASSIFY',
  'TCPMSS',
  'DSCP',
  'TOS',
  'TTL',
  'HL',
  'ECN',
  'CHECKSUM',
  'SECMARK',
  'CONNSECMARK',
  'RATEEST',
  'IDLETIMER',
  'LED',
  'TEE',
  'TCPOPTSTRIP',
  'SET',
  'CT',
]);

/**
 * Targets whose effect on the packet is not simulated. The last four are simulated, unless their options cannot be
 * parsed.
 */
const unsupportedTargets = new Set([
  'NETMAP',
  'SAME',
  'SNPT',
  'DNPT',
  'CLUSTERIP',
  'TPROXY',
  'NFQUEUE',
  'QUEUE',
  'HMARK',
  'SYNPROXY',
  'SNAT',
  'DNAT',
  'MARK',
  'CONNMARK',
]);

/**
 * @param options the options after `-j NAME`
 * @returns an empty list if the packet continues unchanged; undefined if NAME is not a target. An unknown name with
 * options is treated as an extension, because a jump to a chain has no options.
 */
export function parseTarget(name: string, options: readonly string[]): RuleTarget[] | undefined {
  const known = parseKnownTarget(name, options);
  if (known) return [known];
  if (nonTerminalTargets.has(name)) return [];
  const isExtension = /^[A-Z][A-Z0-9]*$/.test(name) && options.length > 0;
  return unsupportedTargets.has(name) || isExtension ? [{ kind: 'unknown' }] : undefined;
}

function parseKnownTarget(name: string, options: readonly string[]): RuleTarget | undefined {
  switch (name) {
    case 'ACCEPT':
      return { kind: 'accept' };
    case 'DROP':
    case 'REJECT':
      return { kind: 'drop' };
    case 'RETURN':
      return { kind: 'return' };
    case 'MASQUERADE':
      return { kind: 'masquerade' };
    case 'REDIRECT':
      return { kind: 'redirect' };
    case 'SNAT':
      return parseSnat(options);
    case 'DNAT':
      return parseDnat(options);
    case 'MARK':
      return parseMark(options, 'packet');
    case 'CONNMARK':
      return parseMark(options, 'connection');
    case 'NOTRACK':
      return { kind: 'notrack' };
    case 'CT':
      return options.includes('--notrack') ? { kind: 'notrack' } : undefined;
    default:
      return undefined;
  }
}

function parseMark(options: readonly string[], field: MarkField): RuleTarget | undefined {
  const [option = '', text = ''] = options;
  if (option === '--save-mark' || option === '--restore-mark') return parseMarkCopy(options);
  const masked = parseMaskedValue(text);
  if (options.length !== 2 || !masked) return undefined;
  const { value, mask } = masked;
  const set = (clear: number, from: number): RuleTarget => ({
    kind: 'mark',
    field,
    clear: clear >>> 0,
    from,
    mask: fullMask,
  });
  switch (option) {
    case '--set-xmark':
      return set(mask, value);
    case '--set-mark':
      return set(mask | value, value);
    case '--and-mark':
      return set(~value, 0);
    case '--or-mark':
      return set(value, value);
    case '--xor-mark':
      return set(0, value);
    default:
      return undefined;
  }
}

function parseMarkCopy(options: readonly string[]): RuleTarget | undefined {
  const packetMask = parseCopyMask(options, '--nfmask');
  const connectionMask = parseCopyMask(options, '--ctmask');
  if (packetMask === undefined || connectionMask === undefined) return undefined;
  return options[0] === '--save-mark'
    ? { kind: 'mark', field: 'connection', clear: connectionMask, from: 'packet', mask: packetMask }
    : { kind: 'mark', field: 'packet', clear: packetMask, from: 'connection', mask: connectionMask };
}

function parseCopyMask(options: readonly string[], name: string): number | undefined {
  const text = itemAfter(options, name) ?? itemAfter(options, '--mask');
  return text === undefined ? fullMask : parseUint32(text);
}

const valuesAfter = (options: readonly string[], name: string): string[] =>
  options.filter((_, index) => options[index - 1] === name);

interface NatRange {
  readonly family: Family | undefined;
  readonly addresses: Range | undefined;
  readonly ports: Range<number> | undefined;
}

/** Parses `10.0.0.5-10.0.0.7:80-90`, `:80` and `[fd00::1]:80`. */
function parseNatRange(text: string): NatRange | undefined {
  const { address, portText } = splitNatRange(text);
  const ports = portText === undefined ? undefined : parsePortRange(portText);
  if (portText !== undefined && !ports) return undefined;
  if (address === '') return ports && { family: undefined, addresses: undefined, ports };
  const parsed = address.includes('/') ? undefined : parseRange(address.replaceAll(/[[\]]/g, ''));
  return parsed && { family: parsed.family, addresses: parsed.range, ports };
}

function splitNatRange(text: string): { address: string; portText: string | undefined } {
  const [, bracketed, bracketedPort] = /^\[([^\]]+)\](?::([\d-]+))?$/.exec(text) ?? [];
  if (bracketed !== undefined) return { address: bracketed, portText: bracketedPort };
  const [address = '', port, ...more] = text.split(':');
  if (port === undefined || more.length > 0) return { address: text, portText: undefined };
  // Some iptables versions print `:80-90/8080` for a shifted port range.
  return { address, portText: port.split('/')[0] };
}

function parseSnat(options: readonly string[]): RuleTarget | undefined {
  const texts = valuesAfter(options, '--to-source');
  const parsed = texts.map(parseNatRange);
  const ranges = parsed.map((one) => one?.addresses).filter((range) => range !== undefined);
  const family = parsed[0]?.family;
  return family && ranges.length === texts.length ? { kind: 'snat', family, ranges } : undefined;
}

function parseDnat(options: readonly string[]): RuleTarget | undefined {
  const parsed = valuesAfter(options, '--to-destination').map(parseNatRange);
  const [first] = parsed;
  if (!first || parsed.some((one) => one === undefined)) return undefined;
  const ranges = parsed.map((one) => one?.addresses).filter((range) => range !== undefined);
  return { kind: 'dnat', addresses: ranges.length > 0 ? ranges : undefined, ports: first.ports };
}
