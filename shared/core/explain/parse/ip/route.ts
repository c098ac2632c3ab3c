import { itemAfter } from '../../../util/collections';
import { DumpError, type Family } from '../../model';
import { addressBits, parseIpAddress, parseRange } from '../../ranges';
import type { KernelNextHop, KernelRoute } from '../../snapshot';
import { stripPeer } from './address';
import { routingTableName } from './rule';

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

/** What is known about a route before its line is parsed. */
export interface RouteContext {
  readonly lineNumber: number;
  /** The table of a route that does not name it. */
  readonly table: string;
  /** The family of a route without addresses, if the command names it. */
  readonly family: Family | undefined;
}

/** Parses one line of `ip route`. With `ip -o`, the next hops are on the same line. */
export function parseRoute(text: string, { lineNumber, table, family: section }: RouteContext): KernelRoute {
  const tokens = text.replaceAll('\\', ' ').trim().split(/\s+/);
  const type = routeTypes.has(tokens[0] ?? '') ? (tokens.shift() ?? '') : 'unicast';
  const [to = '', ...words] = tokens;
  const parsed = to === 'default' ? undefined : parseRange(to);
  if (to !== 'default' && !parsed)
    throw new DumpError({
      line: lineNumber,
      found: text,
      expected: 'a range or "default", as printed by ip route',
    });
  const [options = [], ...others] = splitNextHops(words);
  const family = parsed?.family ?? familyOfOptions(options) ?? section ?? 4;
  const metric = Number(itemAfter(options, 'metric') ?? 0);
  const hasOwnHop = options.includes('dev') || options.includes('via');
  return {
    type,
    family,
    table: routingTableName(itemAfter(options, 'table') ?? table),
    first: parsed?.range.first ?? 0n,
    prefix: to === 'default' ? 0 : Number(to.split('/')[1] ?? addressBits(family)),
    metric: Number.isFinite(metric) ? metric : 0,
    from: parseRange(itemAfter(options, 'from') ?? '')?.range,
    isConditional: options.some((word) => conditionalWords.has(word)),
    nextHops: [...(hasOwnHop ? [options] : []), ...others].map(parseNextHop),
  };
}

/** Options of routes that the kernel does not use for every packet, or only while the link is up. */
const conditionalWords = new Set(['tos', 'dsfield', 'dead', 'linkdown']);

/** Splits the words at each `nexthop`. */
function splitNextHops(words: readonly string[]): string[][] {
  const parts: string[][] = [[]];
  for (const word of words) {
    if (word === 'nexthop') parts.push([]);
    else parts.at(-1)?.push(word);
  }
  return parts;
}

/** Parses `via A dev D` of a route, or of a `nexthop …` line that continues the previous route. */
export function parseNextHop(options: readonly string[]): KernelNextHop {
  const device = itemAfter(options, 'dev');
  return { device: device && stripPeer(device), via: parseVia(options)?.address };
}

function parseVia(options: readonly string[]) {
  const via = itemAfter(options, 'via') ?? '';
  return parseIpAddress(/^inet6?$/.test(via) ? (itemAfter(options, via) ?? '') : via);
}

/**
 * Returns the family of a route to `default`. `via inet6 fe80::1` is printed if the next hop is of the other family,
 * and `pref` only for IPv6.
 */
function familyOfOptions(options: readonly string[]): Family | undefined {
  if (options.includes('inet6')) return 4;
  if (options.includes('inet') || options.includes('pref')) return 6;
  return parseVia(options)?.family;
}
