import { DumpError, type Family } from '../model';
import {
  routingTableKey,
  type InterfaceAddress,
  type KernelRoute,
  type RoutingRule,
  type Snapshot,
} from '../snapshot';
import { isCounted, type Command } from './command';
import type { Line } from './input';
import { isAddressLine, isLinkDetail, parseInterfaceAddress, parseInterface } from './ip/address';
import { parseIpCommand, type IpCommand } from './ip/command';
import { IpEvidence } from './ip/evidence';
import { isRouteLine, parseNextHop, parseRoute } from './ip/route';
import { isRoutingRuleLine, parseRoutingRule } from './ip/rule';

type IpSnapshot = Pick<
  Snapshot,
  'addresses' | 'masters' | 'routes' | 'routingRules' | 'completeRoutingTables' | 'missing'
>;

/** A rule of a listing. Its family is undefined if neither the rule nor the command names it. */
type ListedRule = Omit<RoutingRule, 'family'> & { readonly family: Family | undefined };

/** The table of routes of which it is not known which command printed them. */
const unknownTable = '?';

/** Collects the lines of `ip addr`, `ip route` and `ip rule`, with any options. */
export class IpParser {
  private readonly addresses: InterfaceAddress[] = [];
  private readonly masters = new Map<string, string | undefined>();
  private readonly routes: KernelRoute[] = [];
  private readonly listings: ListedRule[][] = [];
  private readonly complete = new Set<string>();
  private readonly evidence = new IpEvidence();
  private commands: readonly IpCommand[] = [];
  private device: string | undefined;

  /** Starts the output of one or more commands. */
  start(commands: readonly Command[]): void {
    this.commands = commands.map(parseIpCommand).filter((command) => command !== undefined);
    for (const command of this.commands) this.evidence.addCommand(command);
    if (commands.some(isCounted)) this.evidence.requireCommands();
    this.device = undefined;
    this.listings.push([]);
    for (const { object, isComplete, family, table } of this.commands) {
      if (object !== 'route' || !isComplete) continue;
      for (const each of family === undefined ? ([4, 6] as const) : [family])
        this.complete.add(routingTableKey(each, table));
    }
  }

  /** @returns whether the line was printed by `ip` */
  line(line: Line): boolean {
    const { text, number } = line;
    const started = parseInterface(text);
    if (started) {
      this.device = started.device;
      this.masters.set(started.device, started.master);
    } else if (isRoutingRuleLine(text)) this.ruleLine(text);
    else if (isAddressLine(text)) this.addresses.push(parseInterfaceAddress(line, this.device));
    else if (/^\s*nexthop /.test(text)) this.nextHopLine(line);
    else if (isRouteLine(text)) this.routeLine(text, number);
    else return isLinkDetail(text) || /^\d+: \S+\s+link\//.test(text);
    return true;
  }

  finish(): IpSnapshot {
    const { addresses, masters, routes } = this;
    const routingRules = withFamilies(this.listings).sort((a, b) => a.priority - b.priority);
    const missing = this.evidence.missing({ addresses, routes, routingRules });
    return { addresses, masters, routes, routingRules, completeRoutingTables: this.complete, missing };
  }

  private ruleLine(text: string): void {
    const rule = parseRoutingRule(text);
    const listing = this.listings.at(-1);
    const isNewListing = !listing || rule.priority < (listing.at(-1)?.priority ?? 0);
    const family = rule.family ?? this.familyOf('rule');
    if (isNewListing) this.listings.push([{ ...rule, family }]);
    else listing.push({ ...rule, family });
  }

  private routeLine(text: string, lineNumber: number): void {
    // `ip route get` prints what the kernel does with one packet.
    if (/ uid \d+/.test(text)) return;
    const family = this.familyOf('route');
    this.routes.push(parseRoute(text, { lineNumber, table: this.tableOfRoutes(), family }));
  }

  /** Returns the table of routes that do not name one. No rule uses the result if several commands differ. */
  private tableOfRoutes(): string {
    const tables = new Set(
      this.commands.filter(({ object }) => object === 'route').map(({ table = 'main' }) => table),
    );
    const [table = 'main', ...others] = tables;
    return others.length === 0 ? table : unknownTable;
  }

  private familyOf(object: IpCommand['object']): Family | undefined {
    const families = new Set(
      this.commands.filter((command) => command.object === object).map(({ family }) => family),
    );
    const [family, ...others] = families;
    return others.length === 0 ? family : undefined;
  }

  private nextHopLine({ text, number }: Line): void {
    const route = this.routes.pop();
    if (!route) throw new DumpError({ line: number, found: text, expected: 'a route before its next hop' });
    this.routes.push({ ...route, nextHops: [...route.nextHops, parseNextHop(text.trim().split(/\s+/))] });
  }
}

/**
 * Determines the family of each listing. Only the rules of IPv4 look up table default, so a second whole listing that
 * does not is of IPv6.
 */
function withFamilies(listings: readonly (readonly ListedRule[])[]): RoutingRule[] {
  let hasIpv4 = false;
  return listings.flatMap((listing) => {
    const named = listing.find(({ family }) => family !== undefined)?.family;
    const isIpv4 = listing.some((rule) => looksUp(rule, 'default'));
    const isGuessedIpv6 = hasIpv4 && !isIpv4 && listing.some((rule) => looksUp(rule, 'local'));
    const family = named ?? (isGuessedIpv6 ? 6 : 4);
    hasIpv4 ||= isIpv4;
    return listing.map((rule) => ({ ...rule, family }));
  });
}

const looksUp = ({ action }: ListedRule, table: string) => action.kind === 'lookup' && action.table === table;
