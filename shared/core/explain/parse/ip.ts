import { itemAfter } from '../../util/collections';
import { DumpError, type Family } from '../model';
import { addressBits, fullMask, parseIpAddress, parseRange } from '../ranges';
import type { InterfaceAddress, KernelNextHop, KernelRoute, RoutingRule } from '../snapshot';

/** Parses one line of `ip -o addr`, such as `2: eth0    inet 10.209.0.2/16 brd 10.209.255.255 scope global eth0`. */
export function parseInterfaceAddress(text: string, lineNumber: number): InterfaceAddress | undefined {
  const [, device = '', kind, address = '', ...options] = text.trim().split(/\s+/);
  if (kind !== 'inet' && kind !== 'inet6') return undefined;
  const [own = '', ownPrefix] = address.split('/');
  // On a point-to-point link (`inet 10.0.0.1 peer 10.0.0.2/32`), the prefix length follows the peer's address.
  const prefix = ownPrefix ?? itemAfter(options, 'peer')?.split('/')[1];
  const parsed = parseIpAddress(own);
  const length = Number(prefix ?? (parsed && addressBits(parsed.family)));
  if (!parsed || !(length >= 0 && length <= addressBits(parsed.family))) {
    throw new DumpError({
      line: lineNumber,
      found: text,
      expected: 'an address with its prefix length, as printed by ip -o addr',
    });
  }
  return {
    device: stripPeer(device),
    family: parsed.family,
    address: parsed.address,
    prefix: length,
    isSecondary: options.includes('secondary') || options.includes('temporary'),
    scope: itemAfter(options, 'scope') ?? 'global',
    broadcast: parseIpAddress(itemAfter(options, 'brd') ?? '')?.address,
  };
}

/** `veth1@if2` → `veth1` */
const stripPeer = (device: string) => device.split('@')[0] ?? device;

const routeTypes = new Set([
  'unicast',
  'local',
  'broadcast',
  'multicast',
  'anycast',
  'blackhole',
  'unreachable',
  'prohibit',
  'throw',
]);

export function isRouteLine(text: string): boolean {
  const [first = '', second] = text.trim().split(/\s+/, 2);
  return (
    first === 'default' || routeTypes.has(first) || (second !== 'brd' && parseRange(first) !== undefined)
  );
}

/**
 * Parses one line of `ip route` or `ip -6 route`.
 * @param section the family of the section that contains the line, if known
 */
export function parseRoute(text: string, lineNumber: number, section?: Family): KernelRoute {
  const tokens = text.trim().split(/\s+/);
  const type = routeTypes.has(tokens[0] ?? '') ? (tokens.shift() ?? '') : 'unicast';
  const [to = '', ...options] = tokens;
  const parsed = to === 'default' ? undefined : parseRange(to);
  if (to !== 'default' && !parsed)
    throw new DumpError({
      line: lineNumber,
      found: text,
      expected: 'a range or "default", as printed by ip route',
    });
  const family = parsed?.family ?? section ?? nextHopFamily(options) ?? 4;
  const metric = Number(itemAfter(options, 'metric') ?? 0);
  return {
    type,
    family,
    first: parsed?.range.first ?? 0n,
    prefix: to === 'default' ? 0 : Number(to.split('/')[1] ?? addressBits(family)),
    metric: Number.isFinite(metric) ? metric : 0,
    nextHops: options.includes('dev') || options.includes('via') ? [parseNextHop(options)] : [],
  };
}

/** Parses `via A dev D` of a route, or of a `nexthop …` line that continues the previous route. */
export function parseNextHop(options: readonly string[]): KernelNextHop {
  const device = itemAfter(options, 'dev');
  return { device: device && stripPeer(device), via: parseVia(options)?.address };
}

const nextHopFamily = (options: readonly string[]): Family | undefined => parseVia(options)?.family;

/** Parses the address after `via`. An IPv4 route can have a next hop with an IPv6 address: `via inet6 fe80::1`. */
const parseVia = (options: readonly string[]) => parseIpAddress(itemAfter(options, 'via') ?? '');

/**
 * Whether the line is from `ip rule`, such as `0:\tfrom all lookup local`. Lines of `ip -o addr` have no `from` after
 * the number.
 */
export const isRoutingRuleLine = (text: string): boolean => /^\d+:\s+(not )?from /.test(text);

const defaultTables = new Set(['local', 'main', 'default']);

/**
 * Parses one line of `ip rule` or `ip -6 rule`. Selectors other than addresses and marks are assumed to match.
 * @returns undefined for a rule that only looks up the default tables, whose routes `ip route` prints
 */
export function parseRoutingRule(text: string, section: Family = 4): RoutingRule | undefined {
  const [selector, source = '', ...options] = text.trim().split(/\s+/).slice(1);
  if (defaultTables.has(itemAfter(options, 'lookup') ?? '')) return undefined;
  // A negated rule matches if any of its selectors fails. The parser does not support negation and treats the rule as
  // one that matches every packet.
  if (selector === 'not') return { family: section, from: undefined, to: undefined, mark: undefined };
  const from = parseRange(source);
  const to = parseRange(itemAfter(options, 'to') ?? '');
  return {
    family: from?.family ?? to?.family ?? section,
    from: from?.range,
    to: to?.range,
    mark: parseFwmark(itemAfter(options, 'fwmark') ?? ''),
  };
}

function parseFwmark(text: string): RoutingRule['mark'] {
  const [, value, mask = String(fullMask)] = /^(0x[\da-f]{1,8})(?:\/(0x[\da-f]{1,8}))?$/.exec(text) ?? [];
  return value === undefined ? undefined : { value: Number(value), mask: Number(mask) };
}
