import type { Cidr } from '../../model/cidr';
import { addressBits, parseIpAddress, parseRange, prefixRange } from '../address';
import {
  DumpError,
  type Family,
  type InterfaceAddress,
  type Mark,
  type KernelRoute,
  type RoutingRule,
  type Snapshot,
  type Range,
} from '../model';

/** One line of `ip -o addr`: `2: eth0    inet 10.209.0.2/16 brd 10.209.255.255 scope global eth0`. */
export function parseInterfaceAddress(line: string, at: number): InterfaceAddress | undefined {
  const tokens = line.trim().split(/\s+/);
  const [, device = '', kind, text = ''] = tokens;
  if (kind !== 'inet' && kind !== 'inet6') return undefined;
  const after = (token: string) => tokens[tokens.indexOf(token, 4) + 1];
  const [own = '', ownPrefix] = text.split('/');
  // Of a point-to-point link the prefix is that of the other end.
  const prefix = ownPrefix ?? (tokens.includes('peer') ? after('peer')?.split('/')[1] : undefined);
  const parsed = parseIpAddress(own);
  const length = Number(prefix ?? (parsed && addressBits(parsed.family)));
  if (!parsed || !(length >= 0 && length <= addressBits(parsed.family))) {
    throw new DumpError(at, line, 'an address with its prefix length, as ip -o addr prints it');
  }
  return {
    device: stripPeer(device),
    family: parsed.family,
    address: parsed.address,
    prefix: length,
    isSecondary: tokens.includes('secondary') || tokens.includes('temporary'),
    scope: (tokens.includes('scope') ? after('scope') : undefined) ?? 'global',
    broadcast: tokens.includes('brd') ? parseIpAddress(after('brd') ?? '')?.address : undefined,
  };
}

const stripPeer = (device: string) => device.split('@')[0] ?? device;

const routeTypes = new Set([
  ...['unicast', 'local', 'broadcast', 'multicast', 'anycast'],
  ...['blackhole', 'unreachable', 'prohibit', 'throw'],
]);

export function isRouteLine(line: string): boolean {
  const [first = '', second] = line.trim().split(/\s+/, 2);
  return (
    first === 'default' || routeTypes.has(first) || (second !== 'brd' && parseRange(first) !== undefined)
  );
}

/** One line of `ip route`, or of `ip -6 route` where `family` says so. */
export function parseRoute(line: string, at: number, family?: Family): KernelRoute {
  const tokens = line.trim().split(/\s+/);
  const type = routeTypes.has(tokens[0] ?? '') ? (tokens.shift() ?? '') : 'unicast';
  const to = tokens.shift() ?? '';
  const nextHop = parseNextHop(tokens);
  const parsed = to === 'default' ? undefined : parseRange(to);
  if (to !== 'default' && !parsed)
    throw new DumpError(at, line, 'a range or the word default, as ip route prints it');
  const of = parsed?.family ?? family ?? nextHop.family ?? 4;
  const metric = tokens.includes('metric') ? Number(tokens[tokens.indexOf('metric') + 1]) : 0;
  return {
    type,
    family: of,
    first: parsed?.range.first ?? 0n,
    prefix: to === 'default' ? 0 : Number(to.split('/')[1] ?? addressBits(of)),
    metric: Number.isFinite(metric) ? metric : 0,
    nextHops: tokens.includes('dev') || tokens.includes('via') ? [nextHop] : [],
  };
}

/** A line `nexthop via A dev D weight 1` belongs to the route before it. */
export function parseNextHop(tokens: readonly string[]) {
  const after = (token: string) => (tokens.includes(token) ? tokens[tokens.indexOf(token) + 1] : undefined);
  const device = after('dev');
  // `via inet6 fe80::1` of an IPv4 route names no IPv4 neighbour.
  const via = parseIpAddress(after('via') ?? '');
  return { device: device && stripPeer(device), via: via?.address, family: via?.family };
}

/** `0:\tfrom all lookup local`; `ip -o addr` has no word `from` there. */
export const isRoutingRuleLine = (line: string): boolean => /^\d+:\s+(not )?from /.test(line);

/**
 * One line of `ip rule`, or of `ip -6 rule` where `family` says so. What it asks for beside addresses and a mark is
 * taken to hold.
 * @returns undefined for a rule that asks for a table that every node has: those are what `ip route` shows
 */
export function parseRoutingRule(line: string, family: Family = 4): RoutingRule | undefined {
  const [first, ...tokens] = line.trim().split(/\s+/).slice(1);
  const after = (token: string) => (tokens.includes(token) ? tokens[tokens.indexOf(token) + 1] : undefined);
  if (['local', 'main', 'default'].includes(after('lookup') ?? '')) return undefined;
  // Which of its parts does not hold is not looked for.
  if (first === 'not') return { family, from: undefined, to: undefined, mark: undefined };
  const [from, to] = [parseRange(tokens[0] ?? ''), parseRange(after('to') ?? '')];
  const [, value, mask = '0xffffffff'] =
    /^(0x[\da-f]{1,8})(?:\/(0x[\da-f]{1,8}))?$/.exec(after('fwmark') ?? '') ?? [];
  return {
    ...{ family: from?.family ?? to?.family ?? family, from: from?.range, to: to?.range },
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
  const contains = (range: Range | undefined, address: bigint) =>
    range === undefined || (range.first <= address && address <= range.last);
  const matchesMark = ({ mark: condition }: RoutingRule) =>
    condition === undefined || ((mark.value ^ condition.value) & mark.known & condition.mask) === 0;
  return routingRules.some(
    (rule) =>
      rule.family === source.family &&
      contains(rule.from, source.first) &&
      contains(rule.to, destination) &&
      matchesMark(rule),
  );
}

/** Routes to `address`: longest prefix, then lowest metric. */
export function findRoute({ routes }: Snapshot, family: Family, address: bigint): KernelRoute | undefined {
  let best: KernelRoute | undefined;
  for (const route of routes) {
    if (route.family !== family || route.type === 'local' || route.type === 'broadcast') continue;
    const { first, last } = prefixRange(family, route.first, route.prefix);
    if (address < first || address > last) continue;
    if (!best || route.prefix > best.prefix || (route.prefix === best.prefix && route.metric < best.metric)) {
      best = route;
    }
  }
  return best;
}

const loopback4 = prefixRange(4, 127n << 24n, 8);

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
      (own.broadcast === address || prefixRange(4, own.address, own.prefix).last === address),
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
  nextHop?: bigint,
): bigint[] {
  const usable = addresses.filter(
    (own) => own.family === family && !own.isSecondary && own.scope === 'global',
  );
  const onDevice = usable.filter((own) => own.device === device);
  if (onDevice.length === 0) return family === 4 ? usable.map(({ address }) => address).slice(0, 1) : [];
  if (family === 6 || nextHop === undefined) return onDevice.map(({ address }) => address);
  const sameSubnet = onDevice.find((own) => {
    const { first, last } = prefixRange(4, own.address, own.prefix);
    return first <= nextHop && nextHop <= last;
  });
  return [(sameSubnet ?? onDevice[0])?.address].filter((address) => address !== undefined);
}
