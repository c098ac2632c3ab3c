import { readSpan } from './address';
import { readMasked, readNumber, readPorts } from './options';
import type { Family, Span, Target } from './model';

const value = (words: readonly string[], name: string) =>
  words.includes(name) ? words[words.indexOf(name) + 1] : undefined;

const whole = 0xffffffff;

function markTarget(words: readonly string[], of: 'packet' | 'connection'): Target | undefined {
  const [option = '', text = ''] = words;
  if (option === '--save-mark' || option === '--restore-mark') return copyMark(words);
  const masked = readMasked(text);
  if (words.length !== 2 || !masked) return undefined;
  const { value: bits, mask } = masked;
  const set = (clear: number, from: number): Target => ({
    kind: 'mark',
    of,
    clear: clear >>> 0,
    from,
    mask: whole,
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

function copyMark(words: readonly string[]): Target | undefined {
  const masks = ['--nfmask', '--ctmask'].map((name) =>
    readNumber(value(words, name) ?? value(words, '--mask') ?? '0xffffffff'),
  );
  const [nfmask, ctmask] = masks;
  if (nfmask === undefined || ctmask === undefined) return undefined;
  return words[0] === '--save-mark'
    ? { kind: 'mark', of: 'connection', clear: ctmask, from: 'packet', mask: nfmask }
    : { kind: 'mark', of: 'packet', clear: nfmask, from: 'connection', mask: ctmask };
}

/** `10.0.0.5-10.0.0.7:80-90`, `:80`, `[fd00::1]:80`. */
function readTranslation(
  text: string,
): { family?: Family; addresses?: Span; ports?: Span<number> } | undefined {
  const bracketed = /^\[([^\]]+)\](?::([\d-]+))?$/.exec(text);
  const colon = text.split(':').length > 2 ? -1 : text.indexOf(':');
  const address = bracketed?.[1] ?? (colon < 0 ? text : text.slice(0, colon));
  // `:80/8080` of newer versions shifts a range of ports.
  const portText = bracketed ? bracketed[2] : colon < 0 ? undefined : text.slice(colon + 1).split('/')[0];
  const ports = portText === undefined ? undefined : readPorts(portText);
  if (portText !== undefined && !ports) return undefined;
  if (address === '') return ports && { ports };
  const read = address.includes('/') ? undefined : readSpan(address.replaceAll(/[[\]]/g, ''));
  return read && { family: read.family, addresses: read.span, ...(ports && { ports }) };
}

function snatTarget(words: readonly string[]): Target | undefined {
  const texts = words.filter((_, index) => words[index - 1] === '--to-source');
  const read = texts.map(readTranslation);
  const spans = read.map((one) => one?.addresses).filter((span) => span !== undefined);
  const family = read[0]?.family;
  return family && spans.length === texts.length ? { kind: 'snat', family, spans } : undefined;
}

function dnatTarget(words: readonly string[]): Target | undefined {
  const texts = words.filter((_, index) => words[index - 1] === '--to-destination');
  const read = texts.map(readTranslation);
  const [first] = read;
  if (!first || read.some((one) => one === undefined)) return undefined;
  const spans = read.map((one) => one?.addresses).filter((span) => span !== undefined);
  return { kind: 'dnat', addresses: spans.length > 0 ? spans : undefined, ports: first.ports };
}

const goesOn = new Set([
  ...['LOG', 'NFLOG', 'ULOG', 'TRACE', 'AUDIT', 'CLASSIFY', 'TCPMSS', 'DSCP', 'TOS', 'TTL', 'HL', 'ECN'],
  ...['CHECKSUM', 'SECMARK', 'CONNSECMARK', 'RATEEST', 'IDLETIMER', 'LED', 'TEE', 'TCPOPTSTRIP', 'SET', 'CT'],
]);

/** Not followed: what they do to the packet is unknown. */
const opaque = new Set([
  ...['NETMAP', 'SAME', 'SNPT', 'DNPT', 'CLUSTERIP', 'TPROXY', 'NFQUEUE', 'QUEUE', 'HMARK', 'SYNPROXY'],
  ...['SNAT', 'DNAT', 'MARK', 'CONNMARK'],
]);

/**
 * @param words what follows `-j NAME`
 * @returns undefined where that is no target: a chain never has arguments, and extensions have them. Nothing in
 *   the list: the packet goes on.
 */
export function readTarget(name: string, words: readonly string[]): Target[] | undefined {
  const known = knownTarget(name, words);
  if (known) return [known];
  if (goesOn.has(name)) return [];
  const isExtension = /^[A-Z][A-Z0-9]*$/.test(name) && words.length > 0;
  return opaque.has(name) || isExtension ? [{ kind: 'unknown' }] : undefined;
}

function knownTarget(name: string, words: readonly string[]): Target | undefined {
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
      return snatTarget(words);
    case 'DNAT':
      return dnatTarget(words);
    case 'MARK':
      return markTarget(words, 'packet');
    case 'CONNMARK':
      return markTarget(words, 'connection');
    case 'NOTRACK':
      return { kind: 'notrack' };
    case 'CT':
      return words.includes('--notrack') ? { kind: 'notrack' } : undefined;
    default:
      return undefined;
  }
}
