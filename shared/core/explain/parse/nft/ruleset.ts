import {
  calledChain,
  DumpError,
  unknownMatch,
  type BaseChain,
  type Chain,
  type Condition,
  type Family,
  type Hook,
  type Rule,
  type RuleMatch,
  type Table,
} from '../../model';
import { NftRuleParser } from './rule';
import { isJsonObject, listOf, objectOf, textOf, textsOf, type JsonObject, type JsonValue } from './values';

/**
 * The address families of each table family. The arp family is missing, because its chains never process IP packets.
 */
const families: ReadonlyMap<string, readonly Family[]> = new Map([
  ['ip', [4]],
  ['ip6', [6]],
  ['inet', [4, 6]],
  ['netdev', [4, 6]],
  ['bridge', [4, 6]],
]);
const linkLayerFamilies: ReadonlySet<string> = new Set(['netdev', 'bridge']);
const hooks: ReadonlySet<string> = new Set<Hook>(['prerouting', 'forward', 'output', 'postrouting']);
const isHook = (name: string): name is Hook => hooks.has(name);

/**
 * Parses the output of `nft -j list ruleset`.
 * @param lineNumber the line on which the output starts
 */
export function parseNftRuleset(json: JsonValue, lineNumber: number): BaseChain[] {
  const objects = objectOf(json)['nftables'];
  if (!Array.isArray(objects))
    throw new DumpError({
      line: lineNumber,
      found: JSON.stringify(json),
      expected: 'JSON with a list "nftables", as printed by nft -j list ruleset',
    });
  return new NftRulesetParser(lineNumber).parse(listOf(objects).map(objectOf));
}

class NftRulesetParser {
  private readonly tables = new Map<string, Table>();
  private readonly sets = new Map<string, JsonObject>();
  private readonly maybeDormant = new Set<Table>();
  private readonly baseChains: BaseChain[] = [];
  /** Additional matches for the rules of chains that the packet might not traverse. */
  private readonly guards = new Map<Chain, RuleMatch>();
  /** Chains with policy drop whose policy might not apply to the packet. */
  private readonly uncertainDropPolicies = new Map<Chain, Table>();

  constructor(private readonly lineNumber: number) {}

  parse(objects: readonly JsonObject[]): BaseChain[] {
    for (const { table } of objects) if (isJsonObject(table)) this.addTable(table);
    for (const { chain } of objects) if (isJsonObject(chain)) this.addChain(chain);
    for (const { set, map } of objects) {
      const named = objectOf(set ?? map);
      this.sets.set(`${tableKey(named)} ${textOf(named['name'])}`, named);
    }
    for (const { rule } of objects) if (isJsonObject(rule)) this.addRule(rule);
    for (const [chain, table] of this.uncertainDropPolicies)
      chain.rules.push(this.withGuards(policyDrop, chain, table));
    return this.baseChains;
  }

  private addTable(json: JsonObject): void {
    const nft = { family: textOf(json['family']), name: textOf(json['name']) };
    const tableFamilies = families.get(nft.family);
    const flags = textsOf(json['flags']);
    if (!tableFamilies || flags.includes('dormant')) return;
    const name = `${nft.family} ${nft.name}`;
    const table: Table = { backend: 'nft', name, nft, families: tableFamilies, chains: new Map() };
    this.tables.set(name, table);
    if (!flags.every((flag) => harmlessFlags.has(flag))) this.maybeDormant.add(table);
  }

  private addChain(json: JsonObject): void {
    const table = this.tables.get(tableKey(json));
    if (!table) return;
    const chain: Chain = { name: textOf(json['name']), rules: [] };
    table.chains.set(chain.name, chain);
    const hook = textOf(json['hook']);
    if (linkLayerFamilies.has(table.nft?.family ?? '') || hook === 'ingress')
      this.addLinkLayerChain(json, chain, table);
    else if (isHook(hook)) this.addBaseChain(json, hook, { chain, table });
  }

  private addBaseChain(
    json: JsonObject,
    hook: Hook,
    { chain, table }: Pick<BaseChain, 'chain' | 'table'>,
  ): void {
    const hasDropPolicy = json['policy'] === 'drop';
    const isUncertain = this.maybeDormant.has(table);
    if (hasDropPolicy && isUncertain) this.uncertainDropPolicies.set(chain, table);
    this.baseChains.push({
      table,
      chain,
      hook,
      isNat: json['type'] === 'nat',
      priority: Number(json['prio'] ?? 0),
      policy: hasDropPolicy && !isUncertain ? 'drop' : 'accept',
    });
  }

  private addLinkLayerChain(json: JsonObject, chain: Chain, table: Table): void {
    const linkLayerHook = linkLayerHookOf(textOf(json['family']), textOf(json['hook']), textsOf(json['dev']));
    this.guards.set(chain, linkLayerHook?.guard ?? unknownDevice);
    if (!linkLayerHook) return;
    const { hook } = linkLayerHook;
    const priority = linkLayerHook.priority + Number(json['prio'] ?? 0);
    this.baseChains.push({ table, chain, hook, isNat: false, priority, policy: 'accept' });
    if (json['policy'] === 'drop') this.uncertainDropPolicies.set(chain, table);
  }

  private addRule(json: JsonObject): void {
    const table = this.tables.get(tableKey(json));
    if (!table) return;
    const chain =
      table.chains.get(textOf(json['chain'])) ?? this.failMissingChain(textOf(json['chain']), table);
    const parser = new NftRuleParser((name) => this.sets.get(`${table.name} ${name}`));
    for (const statement of listOf(json['expr'])) parser.statement(objectOf(statement));
    const number = (chain.rules.at(-1)?.number ?? 0) + 1;
    const { handle } = json;
    for (const rule of parser.rules(number, textOf(json['comment']))) {
      this.addMissingChains(rule, table);
      const withHandle = Number.isInteger(handle) ? { ...rule, handle: Number(handle) } : rule;
      chain.rules.push(this.withGuards(withHandle, chain, table));
    }
  }

  /** Adds the chains that the rule calls and that the dump, such as one of `nft list chain`, does not show. */
  private addMissingChains({ targets }: Rule, table: Table): void {
    for (const target of targets) {
      const isCall = target.kind === 'jump' || target.kind === 'goto';
      if (!isCall || calledChain(target, table)) continue;
      const name = target.chain;
      table.chains.set(name, { name, rules: [missingRules(`chain ${name}`)] });
    }
  }

  private failMissingChain(found: string, table: Table): never {
    const expected = `a chain of table ${table.name} in the same JSON`;
    throw new DumpError({ line: this.lineNumber, found, expected });
  }

  private withGuards(rule: Rule, chain: Chain, table: Table): Rule {
    const guard = this.guards.get(chain);
    const guarded = guard ? guardRule(rule, guard) : rule;
    return this.maybeDormant.has(table)
      ? { ...guarded, matches: [maybeDormant, ...guarded.matches] }
      : guarded;
  }
}

const harmlessFlags: ReadonlySet<string> = new Set(['owner', 'persist']);
const maybeDormant = unknownMatch('table', 'its flags are invalid in the dump, so it may be dormant');

/** A rule that stands for what the dump does not show. */
const missingRules = (what: string): Rule => ({
  number: 0,
  text: `(${what})`,
  matches: [unknownMatch(what, 'not in the dump')],
  targets: [{ kind: 'unknown' }],
});

const policyDrop: Rule = { number: 0, text: 'policy drop', matches: [], targets: [{ kind: 'drop' }] };

const tableKey = (json: JsonObject) => `${textOf(json['family'])} ${textOf(json['table'])}`;

/** The position of device and bridge chains relative to the IP hooks. */
interface LinkLayerHook {
  readonly hook: Hook;
  /** An offset that is added to the chain's own priority. */
  readonly priority: number;
  /** A match with an unknown result. Routes name only the top device, and the devices below it are not in the dump. */
  readonly guard: RuleMatch;
}

const mayPass = 'unknown whether the packet traverses this chain';

/** The match for chains without a hook, which only other chains call. */
const unknownDevice = unknownMatch('devices', mayPass);

interface HookPosition {
  readonly hook: Hook;
  readonly priority: number;
}

/** Larger than any chain's own priority, which has 32 bits. */
const offset = 2 ** 33;

const bridgeHooks: ReadonlyMap<string, HookPosition> = new Map([
  ['prerouting', { hook: 'prerouting', priority: -2 * offset }],
  // The hook `forward` is missing, because bridged packets traverse it and routed packets do not.
  ['input', { hook: 'prerouting', priority: -offset }],
  ['output', { hook: 'postrouting', priority: offset }],
  ['postrouting', { hook: 'postrouting', priority: 2 * offset }],
]);
const deviceHooks: ReadonlyMap<string, HookPosition> = new Map([
  ['ingress', { hook: 'prerouting', priority: -3 * offset }],
  ['egress', { hook: 'postrouting', priority: 3 * offset }],
]);

/** @returns undefined for IP hooks, and for hooks that routed packets do not traverse */
function linkLayerHookOf(
  nftFamily: string,
  hook: string,
  devices: readonly string[],
): LinkLayerHook | undefined {
  const isBridge = nftFamily === 'bridge';
  const position = (isBridge ? bridgeHooks : deviceHooks).get(hook);
  if (!position) return undefined;
  const location = isBridge ? `bridge ${hook}` : [hook, 'device', ...devices].join(' ');
  return { hook: position.hook, priority: position.priority, guard: unknownMatch(location, mayPass) };
}

/**
 * Returns the rule with the result of each interface match set to unknown. The interfaces may be bridge ports, which
 * routes do not name.
 */
function guardRule(rule: Rule, guard: RuleMatch): Rule {
  const matches = rule.matches.map((match) =>
    testsInterface(match) ? unknownMatch(match.text, 'may be a bridge port') : match,
  );
  return { ...rule, matches: [guard, ...matches] };
}

const testsInterface = (condition: Condition): boolean =>
  condition.kind === 'interface' ||
  (condition.kind === 'any' && condition.alternatives.flat().some(testsInterface));
