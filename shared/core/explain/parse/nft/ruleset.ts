import {
  DumpError,
  type BaseChain,
  type Chain,
  type Family,
  type Hook,
  type RuleMatch,
  type Rule,
  type Table,
} from '../../model';
import { isJsonObject, listOf, objectOf, textOf, type JsonValue, type JsonObject } from './json';
import { unknownMatch } from './match';
import { unknownDevice, guardRule, linkLayerHookOf } from './link-layer';
import { NftRuleParser } from './rule';

/** Not of arp: what it drops is no packet of a connection. */
const families: Readonly<Record<string, readonly Family[]>> = {
  ...{ ip: [4], ip6: [6], inet: [4, 6] },
  ...{ netdev: [4, 6], bridge: [4, 6] },
};
const linkLayerFamilies: ReadonlySet<string> = new Set(['netdev', 'bridge']);
const hooks: ReadonlySet<string> = new Set<Hook>(['prerouting', 'forward', 'output', 'postrouting']);
const isHook = (name: string): name is Hook => hooks.has(name);

/**
 * Reads what `nft -j list ruleset` prints: tables of all families but arp.
 * @param at the line on which it begins
 */
export function parseNftRuleset(text: string, at: number): BaseChain[] {
  let parsed: JsonValue;
  try {
    parsed = JSON.parse(text) as JsonValue;
  } catch (cause) {
    throw new DumpError(at, text.slice(-80), 'the whole JSON that nft -j list ruleset prints', cause);
  }
  const objects = objectOf(parsed)['nftables'];
  if (!Array.isArray(objects))
    throw new DumpError(at, text, 'JSON with a list "nftables", as nft -j list ruleset prints it');
  return new NftRulesetParser(listOf(objects).map(objectOf), at).baseChains();
}

class NftRulesetParser {
  private readonly tables = new Map<string, Table>();
  private readonly sets = new Map<string, JsonObject>();
  private readonly maybeDormant = new Set<Table>();
  private readonly found: BaseChain[] = [];
  /** Of chains that the packet perhaps does not come to. */
  private readonly guards = new Map<Chain, RuleMatch>();
  /** Chains with the policy to drop, of which it is not known whether they are in force. */
  private readonly uncertainDropPolicies = new Map<Chain, Table>();

  constructor(objects: readonly JsonObject[], at: number) {
    for (const { table } of objects) if (isJsonObject(table)) this.addTable(table);
    for (const { chain } of objects) if (isJsonObject(chain)) this.addChain(chain);
    for (const { set, map } of objects) {
      const named = objectOf(set ?? map);
      this.sets.set(`${tableKey(named)} ${textOf(named['name'])}`, named);
    }
    for (const { rule } of objects) if (isJsonObject(rule)) this.addRule(rule, at);
    for (const [chain, table] of this.uncertainDropPolicies)
      chain.rules.push(this.withGuards(table, chain, policyDrop));
  }

  baseChains(): BaseChain[] {
    return this.found;
  }

  private addTable(table: JsonObject): void {
    const family = textOf(table['family']);
    const of = Object.hasOwn(families, family) ? families[family] : undefined;
    if (!of) return;
    const { flags = [] } = table;
    const names = typeof flags === 'string' ? [flags] : listOf(flags).map(textOf);
    if (names.includes('dormant')) return;
    const name = `${family} ${textOf(table['name'])}`;
    const parsed: Table = { backend: 'nft', name, families: of, chains: new Map() };
    this.tables.set(name, parsed);
    if (!names.every((flag) => harmlessFlags.has(flag))) this.maybeDormant.add(parsed);
  }

  private addChain(json: JsonObject): void {
    const table = this.tables.get(tableKey(json));
    if (!table) return;
    const chain: Chain = { name: textOf(json['name']), rules: [] };
    table.chains.set(chain.name, chain);
    const family = textOf(json['family']);
    const hook = textOf(json['hook']);
    if (linkLayerFamilies.has(family) || hook === 'ingress') this.addLinkLayerChain(json, table, chain);
    else if (isHook(hook)) {
      this.found.push({
        ...{ table, chain, hook, isNat: json['type'] === 'nat' },
        priority: Number(json['prio'] ?? 0),
        policy: json['policy'] === 'drop' && !this.maybeDormant.has(table) ? 'drop' : 'accept',
      });
      if (json['policy'] === 'drop' && this.maybeDormant.has(table))
        this.uncertainDropPolicies.set(chain, table);
    }
  }

  private addLinkLayerChain(json: JsonObject, table: Table, chain: Chain): void {
    const { dev = null } = json;
    const devices = typeof dev === 'string' ? [dev] : listOf(dev).map(textOf);
    const linkLayerHook = linkLayerHookOf(textOf(json['family']), textOf(json['hook']), devices);
    this.guards.set(chain, linkLayerHook?.guard ?? unknownDevice);
    if (!linkLayerHook) return;
    const priority = linkLayerHook.priority + Number(json['prio'] ?? 0);
    this.found.push({ table, chain, hook: linkLayerHook.hook, isNat: false, priority, policy: 'accept' });
    if (json['policy'] === 'drop') this.uncertainDropPolicies.set(chain, table);
  }

  private addRule(json: JsonObject, at: number): void {
    const table = this.tables.get(tableKey(json));
    if (!table) return;
    const chain = table.chains.get(textOf(json['chain']));
    if (!chain)
      throw new DumpError(at, textOf(json['chain']), `a chain of table ${table.name} that the same JSON has`);
    const number = (chain.rules.at(-1)?.number ?? 0) + 1;
    const parser = new NftRuleParser((name) => this.sets.get(`${table.name} ${name}`));
    for (const statement of listOf(json['expr'])) parser.statement(objectOf(statement));
    for (const rule of parser.rules(number, textOf(json['comment']))) {
      checkTargets(rule, table, at);
      const { handle } = json;
      chain.rules.push(
        this.withGuards(table, chain, {
          ...rule,
          ...(Number.isInteger(handle) && { handle: Number(handle) }),
        }),
      );
    }
  }

  private withGuards(table: Table, chain: Chain, rule: Rule): Rule {
    const guard = this.guards.get(chain);
    const own = guard ? guardRule(rule, guard) : rule;
    return this.maybeDormant.has(table) ? { ...own, matches: [maybeDormant, ...own.matches] } : own;
  }
}

const harmlessFlags: ReadonlySet<string> = new Set(['owner', 'persist']);
const maybeDormant = unknownMatch('table', 'nft prints flags of it that are none, and it may be dormant');

const policyDrop: Rule = { number: 0, text: 'policy drop', matches: [], targets: [{ kind: 'drop' }] };

const tableKey = (json: JsonObject) => `${textOf(json['family'])} ${textOf(json['table'])}`;

function checkTargets({ targets, text }: Rule, table: Table, at: number): void {
  for (const target of targets) {
    if ((target.kind === 'jump' || target.kind === 'goto') && !table.chains.has(target.chain)) {
      throw new DumpError(at, text, `a chain of table ${table.name} that the same JSON has`);
    }
  }
}
