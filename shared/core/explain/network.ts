import type { Cidr } from '../cidr';
import { bitsOf, readAddress, readSpan, spanOf } from './address';
import {
  DumpError,
  type Family,
  type InterfaceAddress,
  type Mark,
  type Route,
  type RoutingRule,
  type Snapshot,
  type Span,
} from './model';

/** One line of `ip -o addr`: `2: eth0    inet 10.209.0.2/16 brd 10.209.255.255 scope global eth0`. */
export function readAddressLine(line: string, at: number): InterfaceAddress | undefined {
  const words = line.trim().split(/\s+/);
  const [, device = '', kind, text = ''] = words;
  if (kind !== 'inet' && kind !== 'inet6') return undefined;
  const after = (word: string) => words[words.indexOf(word, 4) + 1];
  const [own = '', ownPrefix] = text.split('/');
  // Of a point-to-point link the prefix is that of the other end.
  const prefix = ownPrefix ?? (words.includes('peer') ? after('peer')?.split('/')[1] : undefined);
  const read = readAddress(own);
  const length = Number(prefix ?? (read && bitsOf(read.family)));
  if (!read || !(length >= 0 && length <= bitsOf(read.family))) {
    throw new DumpError(at, line, 'an address with its prefix length, as ip -o addr prints it');
  }
  return {
    device: withoutPeer(device),
    family: read.family,
    address: read.address,
    prefix: length,
    isSecondary: words.includes('secondary') || words.includes('temporary'),
    scope: (words.includes('scope') ? after('scope') : undefined) ?? 'global',
    broadcast: words.includes('brd') ? readAddress(after('brd') ?? '')?.address : undefined,
  };
}

const withoutPeer = (device: string) => device.split('@')[0] ?? device;

const routeTypes = new Set([
  ...['unicast', 'local', 'broadcast', 'multicast', 'anycast'],
  ...['blackhole', 'unreachable', 'prohibit', 'throw'],
]);

export function isRouteLine(line: string): boolean {
  const [first = '', second] = line.trim().split(/\s+/, 2);
  return first === 'default' || routeTypes.has(first) || (second !== 'brd' && readSpan(first) !== undefined);
}

/** One line of `ip route`, or of `ip -6 route` where `family` says so. */
export function readRouteLine(line: string, at: number, family?: Family): Route {
  const words = line.trim().split(/\s+/);
  const type = routeTypes.has(words[0] ?? '') ? (words.shift() ?? '') : 'unicast';
  const to = words.shift() ?? '';
  const hop = readHop(words);
  const read = to === 'default' ? undefined : readSpan(to);
  if (to !== 'default' && !read)
    throw new DumpError(at, line, 'a range or the word default, as ip route prints it');
  const of = read?.family ?? family ?? hop.family ?? 4;
  const metric = words.includes('metric') ? Number(words[words.indexOf('metric') + 1]) : 0;
  return {
    type,
    family: of,
    first: read?.span.first ?? 0n,
    prefix: to === 'default' ? 0 : Number(to.split('/')[1] ?? bitsOf(of)),
    metric: Number.isFinite(metric) ? metric : 0,
    hops: words.includes('dev') || words.includes('via') ? [hop] : [],
  };
}

/** A line `nexthop via A dev D weight 1` belongs to the route before it. */
export function readHop(words: readonly string[]) {
  const after = (word: string) => (words.includes(word) ? words[words.indexOf(word) + 1] : undefined);
  const device = after('dev');
  // `via inet6 fe80::1` of an IPv4 route names no IPv4 neighbour.
  const via = readAddress(after('via') ?? '');
  return { device: device && withoutPeer(device), via: via?.address, family: via?.family };
}

/** `0:\tfrom all lookup local`; `ip -o addr` has no word `from` there. */
export const isRuleLine = (line: string): boolean => /^\d+:\s+(not )?from /.test(line);

/**
 * One line of `ip rule`, or of `ip -6 rule` where `family` says so. What it asks for beside addresses and a mark is
 * taken to hold.
 * @returns undefined for a rule that asks for a table that every node has: those are what `ip route` shows
 */
export function readRuleLine(line: string, family: Family = 4): RoutingRule | undefined {
  const [first, ...words] = line.trim().split(/\s+/).slice(1);
  const after = (word: string) => (words.includes(word) ? words[words.indexOf(word) + 1] : undefined);
  if (['local', 'main', 'default'].includes(after('lookup') ?? '')) return undefined;
  // Which of its parts does not hold is not looked for.
  if (first === 'not') return { family, from: undefined, to: undefined, mark: undefined };
  const [from, to] = [readSpan(words[0] ?? ''), readSpan(after('to') ?? '')];
  const [, value, mask = '0xffffffff'] =
    /^(0x[\da-f]{1,8})(?:\/(0x[\da-f]{1,8}))?$/.exec(after('fwmark') ?? '') ?? [];
  return {
    ...{ family: from?.family ?? to?.family ?? family, from: from?.span, to: to?.span },
    mark: value === undefined ? undefined : { value: Number(value), mask: Number(mask) },
  };
}

/** Whether another table than those of the dump may say where a packet with this mark goes. */
export function isRoutedByPolicy(
  { routingRules }: Snapshot,
  source: Cidr,
  destination: bigint,
  mark: Mark,
): boolean {
  const holds = (span: Span | undefined, address: bigint) =>
    span === undefined || (span.first <= address && address <= span.last);
  const isMarked = ({ mark: asked }: RoutingRule) =>
    asked === undefined || ((mark.value ^ asked.value) & mark.known & asked.mask) === 0;
  return routingRules.some(
    (rule) =>
      rule.family === source.family &&
      holds(rule.from, source.first) &&
      holds(rule.to, destination) &&
      isMarked(rule),
  );
}

/** Routes to `address`: longest prefix, then lowest metric. */
export function routeTo({ routes }: Snapshot, family: Family, address: bigint): Route | undefined {
  let best: Route | undefined;
  for (const route of routes) {
    if (route.family !== family || route.type === 'local' || route.type === 'broadcast') continue;
    const { first, last } = spanOf(family, route.first, route.prefix);
    if (address < first || address > last) continue;
    if (!best || route.prefix > best.prefix || (route.prefix === best.prefix && route.metric < best.metric)) {
      best = route;
    }
  }
  return best;
}

const loopback4 = spanOf(4, 127n << 24n, 8);

/** Whether the node itself has the address (on this device); undefined where the dump has no addresses. */
export function isLocal(
  { addresses }: Snapshot,
  family: Family,
  address: bigint,
  device?: string,
): boolean | undefined {
  if (family === 4 && address >= loopback4.first && address <= loopback4.last) {
    return device === undefined || device === 'lo';
  }
  if (addresses.length === 0) return undefined;
  return addresses.some(
    (own) => own.family === family && own.address === address && (device ?? own.device) === own.device,
  );
}

/** As the kernel's table `local` has them: of each IPv4 range the last address, and that which `brd` names. */
export function isBroadcast({ addresses }: Snapshot, address: bigint, device?: string): boolean | undefined {
  if (address === 0xffffffffn || address >> 24n === 0n) return true;
  if (addresses.length === 0) return undefined;
  return addresses.some(
    (own) =>
      own.family === 4 &&
      (device ?? own.device) === own.device &&
      own.prefix < 31 &&
      (own.broadcast === address || spanOf(4, own.address, own.prefix).last === address),
  );
}

export function isMulticast(family: Family, address: bigint): boolean {
  return family === 4 ? address >> 28n === 0xen : address >> 120n === 0xffn;
}

/**
 * The addresses that MASQUERADE may choose, as inet_select_addr of the kernel does (net/ipv4/devinet.c): the first
 * primary address of the device whose range holds the next hop, else its first primary address, else one of another
 * device. For IPv6 every global address of the device is a candidate (RFC 6724 decides).
 * @param hop next hop; undefined where it is not known
 * @returns none where the dump does not tell
 */
export function masqueradeSources(
  { addresses }: Snapshot,
  family: Family,
  device: string,
  hop?: bigint,
): bigint[] {
  const usable = addresses.filter(
    (own) => own.family === family && !own.isSecondary && own.scope === 'global',
  );
  const here = usable.filter((own) => own.device === device);
  if (here.length === 0) return family === 4 ? usable.map(({ address }) => address).slice(0, 1) : [];
  if (family === 6 || hop === undefined) return here.map(({ address }) => address);
  const near = here.find((own) => {
    const { first, last } = spanOf(4, own.address, own.prefix);
    return first <= hop && hop <= last;
  });
  return [(near ?? here[0])?.address].filter((address) => address !== undefined);
}
