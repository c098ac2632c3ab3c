import { parseRange } from '../address';
import { parseMaskedValue, parseUint32, parsePortRange } from './iptables-options';
import type { Family, Range, RuleTarget } from '../model';

const value = (tokens: readonly string[], name: string) =>
  tokens.includes(name) ? tokens[tokens.indexOf(name) + 1] : undefined;

const fullMask = 0xffffffff;

function parseMark(tokens: readonly string[], of: 'packet' | 'connection'): RuleTarget | undefined {
  const [option = '', text = ''] = tokens;
  if (option === '--save-mark' || option === '--restore-mark') return parseMarkCopy(tokens);
  const masked = parseMaskedValue(text);
  if (tokens.length !== 2 || !masked) return undefined;
  const { value: bits, mask } = masked;
  const set = (clear: number, from: number): RuleTarget => ({
    kind: 'mark',
    of,
    clear: clear >>> 0,
    from,
    mask: fullMask,
  });
  switch (option) {
    case '--set-xmark':
      return set(mask, bits);
    case '--set-mark':
      return set((mask | bits) >>> 0, bits);
    case '--and-mark':
      return set(~bits, 0);
    case '--or-mark':
      return set(bits, bits);
    case '--xor-mark':
      return set(0, bits);
    default:
      return undefined;
  }
}

function parseMarkCopy(tokens: readonly string[]): RuleTarget | undefined {
  const masks = ['--nfmask', '--ctmask'].map((name) =>
    parseUint32(value(tokens, name) ?? value(tokens, '--mask') ?? '0xffffffff'),
  );
  const [nfmask, ctmask] = masks;
  if (nfmask === undefined || ctmask === undefined) return undefined;
  return tokens[0] === '--save-mark'
    ? { kind: 'mark', of: 'connection', clear: ctmask, from: 'packet', mask: nfmask }
    : { kind: 'mark', of: 'packet', clear: nfmask, from: 'connection', mask: ctmask };
}

/** `10.0.0.5-10.0.0.7:80-90`, `:80`, `[fd00::1]:80`. */
function parseNatRange(
  text: string,
): { family?: Family; addresses?: Range; ports?: Range<number> } | undefined {
  const bracketed = /^\[([^\]]+)\](?::([\d-]+))?$/.exec(text);
  const colon = text.split(':').length > 2 ? -1 : text.indexOf(':');
  const address = bracketed?.[1] ?? (colon < 0 ? text : text.slice(0, colon));
  // `:80/8080` of newer versions shifts a range of ports.
  const portText = bracketed ? bracketed[2] : colon < 0 ? undefined : text.slice(colon + 1).split('/')[0];
  const ports = portText === undefined ? undefined : parsePortRange(portText);
  if (portText !== undefined && !ports) return undefined;
  if (address === '') return ports && { ports };
  const parsed = address.includes('/') ? undefined : parseRange(address.replaceAll(/[[\]]/g, ''));
  return parsed && { family: parsed.family, addresses: parsed.range, ...(ports && { ports }) };
}

function parseSnat(tokens: readonly string[]): RuleTarget | undefined {
  const texts = tokens.filter((_, index) => tokens[index - 1] === '--to-source');
  const parsed = texts.map(parseNatRange);
  const ranges = parsed.map((one) => one?.addresses).filter((range) => range !== undefined);
  const family = parsed[0]?.family;
  return family && ranges.length === texts.length ? { kind: 'snat', family, ranges } : undefined;
}

function parseDnat(tokens: readonly string[]): RuleTarget | undefined {
  const texts = tokens.filter((_, index) => tokens[index - 1] === '--to-destination');
  const parsed = texts.map(parseNatRange);
  const [first] = parsed;
  if (!first || parsed.some((one) => one === undefined)) return undefined;
  const ranges = parsed.map((one) => one?.addresses).filter((range) => range !== undefined);
  return { kind: 'dnat', addresses: ranges.length > 0 ? ranges : undefined, ports: first.ports };
}

const nonTerminalTargets = new Set([
  ...['LOG', 'NFLOG', 'ULOG', 'TRACE', 'AUDIT', 'CLASSIFY', 'TCPMSS', 'DSCP', 'TOS', 'TTL', 'HL', 'ECN'],
  ...['CHECKSUM', 'SECMARK', 'CONNSECMARK', 'RATEEST', 'IDLETIMER', 'LED', 'TEE', 'TCPOPTSTRIP', 'SET', 'CT'],
]);

/** Not followed: what they do to the packet is unknown. */
const unsupportedTargets = new Set([
  ...['NETMAP', 'SAME', 'SNPT', 'DNPT', 'CLUSTERIP', 'TPROXY', 'NFQUEUE', 'QUEUE', 'HMARK', 'SYNPROXY'],
  ...['SNAT', 'DNAT', 'MARK', 'CONNMARK'],
]);

/**
 * @param words what follows `-j NAME`
 * @returns undefined where that is no target: a chain never has arguments, and extensions have them. Nothing in
 *   the list: the packet goes on.
 */
export function parseTarget(name: string, tokens: readonly string[]): RuleTarget[] | undefined {
  const known = parseKnownTarget(name, tokens);
  if (known) return [known];
  if (nonTerminalTargets.has(name)) return [];
  const isExtension = /^[A-Z][A-Z0-9]*$/.test(name) && tokens.length > 0;
  return unsupportedTargets.has(name) || isExtension ? [{ kind: 'unknown' }] : undefined;
}

function parseKnownTarget(name: string, tokens: readonly string[]): RuleTarget | undefined {
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
      return parseSnat(tokens);
    case 'DNAT':
      return parseDnat(tokens);
    case 'MARK':
      return parseMark(tokens, 'packet');
    case 'CONNMARK':
      return parseMark(tokens, 'connection');
    case 'NOTRACK':
      return { kind: 'notrack' };
    case 'CT':
      return tokens.includes('--notrack') ? { kind: 'notrack' } : undefined;
    default:
      return undefined;
  }
}
