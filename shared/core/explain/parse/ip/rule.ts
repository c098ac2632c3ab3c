import type { Family, Range } from '../../model';
import { fullMask, parsePortRange, parseRange, protocolNumber } from '../../ranges';
import { everyPacket, type RoutingAction, type RoutingRule } from '../../snapshot';

/** Whether the line is from `ip rule`, such as `0:\tfrom all lookup local`. */
export const isRoutingRuleLine = (text: string): boolean => /^\s*\d+:\s+(not )?from /.test(text);

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
type Draft = Mutable<Omit<RoutingRule, 'family' | 'unknown'>> & {
  family: Family | undefined;
  readonly unknown: string[];
};

/**
 * Parses one line of `ip rule`.
 * @returns the rule; its family is undefined if the line has no address
 */
export function parseRoutingRule(line: string): Omit<RoutingRule, 'family'> & { family: Family | undefined } {
  const text = line.trim();
  const [priority = '', ...tokens] = text.split(/\s+/);
  const draft: Draft = {
    family: undefined,
    priority: Number.parseInt(priority, 10),
    text,
    ...everyPacket,
    unknown: [],
    action: { kind: 'unknown', text },
  };
  while (tokens.length > 0) parseToken(draft, tokens.shift() ?? '', tokens);
  return draft;
}

/** Parses one word, and takes its values from `rest`. */
function parseToken(draft: Draft, name: string, rest: string[]): void {
  const take = () => rest.shift() ?? '';
  switch (name) {
    case 'not':
      draft.isNegated = true;
      return;
    case 'from':
    case 'to':
      parseAddresses(draft, name, take());
      return;
    case 'fwmark':
      draft.mark = known(draft, name, parsed(take(), parseMark));
      return;
    case 'iif':
      draft.in = take();
      return;
    case 'oif':
      draft.out = take();
      return;
    case '[detached]':
      // The interface does not exist, so that no packet has it.
      if (draft.out === undefined) draft.in = '';
      else draft.out = '';
      return;
    case '[unresolved]':
      return;
    case 'uidrange':
      draft.users = known(draft, name, parsed(take(), parseUsers));
      return;
    case 'ipproto':
      draft.protocol = known(draft, name, parsed(take(), protocolNumber));
      return;
    case 'sport':
      draft.sourcePorts = known(draft, name, parsed(take(), parsePortRange));
      return;
    case 'dport':
      draft.destinationPorts = known(draft, name, parsed(take(), parsePortRange));
      return;
    // `proto` is the program that added the rule, and `realms` are only for accounting.
    case 'proto':
    case 'realms':
      take();
      return;
    default:
      parseAction(draft, name, take);
  }
}

function parseAction(draft: Draft, name: string, take: () => string): void {
  const { action } = draft;
  switch (name) {
    case 'lookup':
    case 'table':
      draft.action = lookup(take());
      if (draft.action.kind === 'lookup' && draft.action.table === '[l3mdev-table]')
        draft.unknown.push('l3mdev');
      return;
    case 'suppress_prefixlength':
      if (action.kind === 'lookup') draft.action = { ...action, suppressedPrefix: Number(take()) };
      return;
    case 'suppress_ifgroup':
      if (action.kind === 'lookup') draft.action = { ...action, suppressedGroup: take() };
      return;
    case 'goto':
      draft.action = { kind: 'goto', priority: Number(take()) };
      return;
    case 'nop':
      draft.action = { kind: 'nop' };
      return;
    case 'unreachable':
    case 'blackhole':
    case 'prohibit':
      draft.action = { kind: 'reject', type: name };
      return;
    default:
      draft.unknown.push(`${name} ${take()}`.trimEnd());
  }
}

const lookup = (table: string): RoutingAction => ({
  kind: 'lookup',
  table: routingTableName(table),
  suppressedPrefix: undefined,
  suppressedGroup: undefined,
});

function parseAddresses(draft: Draft, name: 'from' | 'to', value: string): void {
  if (value === 'all') return;
  const range = known(draft, name, parsed(value, parseRange));
  draft[name] = range?.range;
  draft.family ??= range?.family;
}

interface SelectorValue<T> {
  readonly text: string;
  readonly value: T | undefined;
}

const parsed = <T>(text: string, parse: (text: string) => T | undefined): SelectorValue<T> => ({
  text,
  value: parse(text),
});

/** Returns the value of a selector. A value that cannot be parsed makes the selector unknown. */
function known<T>(draft: Draft, name: string, { text, value }: SelectorValue<T>): T | undefined {
  if (value === undefined) draft.unknown.push(`${name} ${text}`);
  return value;
}

function parseMark(text: string): RoutingRule['mark'] {
  const number = String.raw`(0x[\da-f]{1,8}|\d{1,10})`;
  const [, value, mask = String(fullMask)] = new RegExp(`^${number}(?:/${number})?$`).exec(text) ?? [];
  return value === undefined ? undefined : { value: Number(value), mask: Number(mask) };
}

function parseUsers(text: string): Range<number> | undefined {
  const [, first, last] = /^(\d{1,10})-(\d{1,10})$/.exec(text) ?? [];
  return first === undefined ? undefined : { first: Number(first), last: Number(last) };
}

const tableNames: Readonly<Record<string, string>> = { 253: 'default', 254: 'main', 255: 'local' };

/** Returns the name of a table that the kernel itself uses, or the name or number in the dump. */
export const routingTableName = (table: string): string => tableNames[table] ?? table;
