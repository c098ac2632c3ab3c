import type {
  Ternary,
  BaseChain,
  Chain,
  Family,
  Hook,
  Mark,
  Rule,
  Snapshot,
  Range,
  RuleTarget,
} from '../model';
import {
  evaluateMatches,
  hasConnection,
  evaluateMatch,
  markOf,
  type PacketState,
  type Translation,
  type MatchContext,
} from './match';
import { isLocal, isRoutedByPolicy, masqueradeSources, findRoute } from '../parse/ip';
import type { Packet } from './packet';

/** How the packet ends, in one of the ways that what is not known leaves open. */
export type Verdict =
  | {
      readonly kind: 'egress';
      readonly translation: Translation | undefined;
      readonly out: string | undefined;
      /** Where it goes by then. `undefined`: not known. */
      readonly destination: bigint | undefined;
      readonly destinationPort: number | undefined;
    }
  | { readonly kind: 'local' }
  | { readonly kind: 'dropped'; readonly by: string };

/** A rule that the packet came to. */
export interface Evaluation {
  readonly baseChain: BaseChain;
  readonly chain: Chain;
  readonly rule: Rule;
  readonly matched: Ternary;
  readonly state: PacketState;
  readonly context: MatchContext;
}

export interface Trace {
  readonly verdicts: readonly Verdict[];
  /** In the order of the packet's way; each rule once. */
  readonly evaluations: readonly Evaluation[];
}

/** What the packet may do in a chain: go back to the caller, or end the table's part of the way. */
interface ChainResult {
  readonly returned: PacketStates;
  readonly accepted: PacketStates;
  readonly translated: PacketStates;
}

const fullMask = 0xffffffff;
const noMark: Mark = { value: 0, known: fullMask };
const unknownMark: Mark = { value: 0, known: 0 };
/** More ways than these at one rule are joined into one that knows less. */
const maxStates = 64;
/** Longer lists of addresses are not told one by one. */
const maxAddresses = 64;

/** States without their doubles. */
class PacketStates {
  private readonly byKey = new Map<string, PacketState>();

  constructor(states: Iterable<PacketState> = []) {
    this.addAll(states);
  }

  add(state: PacketState): void {
    this.byKey.set(stateKeyOf(state), state);
  }

  addAll(states: Iterable<PacketState>): void {
    for (const state of states) this.add(state);
  }

  get size(): number {
    return this.byKey.size;
  }

  get list(): PacketState[] {
    const states = [...this.byKey.values()];
    return states.length > maxStates ? mergeStates(states) : states;
  }
}

const idByRule = new WeakMap<Rule, number>();
let lastRuleId = 0;

function ruleIdOf(rule: Rule): number {
  const known = idByRule.get(rule) ?? ++lastRuleId;
  idByRule.set(rule, known);
  return known;
}

const keys = new WeakMap<PacketState, string>();

/** Most rules let a state pass as it is. */
function stateKeyOf(state: PacketState): string {
  const key = keys.get(state) ?? buildStateKey(state);
  keys.set(state, key);
  return key;
}

function buildStateKey(state: PacketState): string {
  const { packetMark: mark, connectionMark: connection, translation } = state;
  return [
    ...[
      state.destination,
      state.destinationPort,
      state.isTranslated,
      state.isTracked,
      state.out,
      state.nextHop,
    ],
    ...[mark.value, mark.known, connection.value, connection.known],
    ...(translation ? [ruleIdOf(translation.by), translation.sources.join(' ')] : []),
  ].join('|');
}

/** One state for all that agree on what may not be lost; the rest is known where all agree. */
function mergeStates(states: readonly PacketState[]): PacketState[] {
  const groups = new Map<string, PacketState>();
  for (const state of states) {
    const { translation, isTracked, isTranslated } = state;
    const key = [isTracked, isTranslated, translation && ruleIdOf(translation.by)].join('|');
    const other = groups.get(key);
    groups.set(key, other ? join(other, state) : state);
  }
  return [...groups.values()];
}

function join(a: PacketState, b: PacketState): PacketState {
  const same = <T>(one: T, other: T) => (one === other ? one : undefined);
  return {
    ...a,
    destination: same(a.destination, b.destination),
    destinationPort: same(a.destinationPort, b.destinationPort),
    packetMark: mergeMarks(a.packetMark, b.packetMark),
    connectionMark: mergeMarks(a.connectionMark, b.connectionMark),
    out: same(a.out, b.out),
    nextHop: same(a.nextHop, b.nextHop),
    translation: a.translation && mergeTranslations(a.translation, b.translation?.sources ?? []),
  };
}

function mergeTranslations({ by, sources }: Translation, others: readonly bigint[]): Translation {
  const isKnown = sources.length > 0 && others.length > 0;
  return { by, sources: isKnown ? [...new Set([...sources, ...others])] : [] };
}

function mergeMarks(a: Mark, b: Mark): Mark {
  const known = (a.known & b.known & ~(a.value ^ b.value)) >>> 0;
  return { value: (a.value & known) >>> 0, known };
}

/** Follows a packet to the end of POSTROUTING. Rules in `ignored` are taken for absent. */
export function walk(snapshot: Snapshot, packet: Packet, ignored: ReadonlySet<Rule> = new Set()): Trace {
  return new Walker(snapshot, packet, ignored).run();
}

class Walker {
  private readonly verdicts: Verdict[] = [];
  private readonly evaluations = new Map<Rule, Evaluation>();
  private readonly memo = new Map<Chain, Map<string, ChainResult>>();
  private readonly family: Family;
  private readonly in: string | undefined;

  constructor(
    private readonly snapshot: Snapshot,
    private readonly packet: Packet,
    private readonly ignored: ReadonlySet<Rule>,
  ) {
    this.family = packet.destination.family;
    this.in = packet.isFromNode ? '' : (packet.in ?? this.deviceOf(packet.source.first));
  }

  run(): Trace {
    const { packet } = this;
    const start: PacketState = {
      destination: packet.destination.first,
      destinationPort: packet.destinationPort,
      ...{ isTranslated: false, isTracked: true, packetMark: noMark, connectionMark: noMark },
      ...{ out: undefined, nextHop: undefined, translation: undefined },
    };
    const routed = packet.isFromNode
      ? this.route(this.hook('output', this.selectInterfaces(start)))
      : this.hook('forward', this.route(this.hook('prerouting', [start])));
    for (const state of this.hook('postrouting', routed)) {
      const { translation, out, destination, destinationPort } = state;
      this.verdicts.push({ kind: 'egress', translation, out, destination, destinationPort });
    }
    return { verdicts: this.verdicts, evaluations: [...this.evaluations.values()] };
  }

  /** A pod's device: the default route leads to no pod. */
  private deviceOf(source: bigint): string | undefined {
    const route = findRoute(this.snapshot, this.family, source);
    return route && route.prefix > 0 && route.nextHops.length === 1 ? route.nextHops[0]?.device : undefined;
  }

  private route(states: readonly PacketState[]): PacketState[] {
    return states.flatMap((state) => {
      const isLocalDestination =
        state.destination !== undefined && isLocal(this.snapshot, this.family, state.destination);
      if (isLocalDestination) this.verdicts.push({ kind: 'local' });
      return isLocalDestination ? [] : this.selectInterfaces(state);
    });
  }

  /** The same state with the interface that it leaves by: one for each that the kernel may choose. */
  private selectInterfaces(state: PacketState): PacketState[] {
    const { destination } = state;
    const specifiedOut = state.isTranslated ? undefined : this.packet.out;
    if (destination === undefined) return [{ ...state, out: specifiedOut, nextHop: undefined }];
    if (this.packet.isFromNode && isLocal(this.snapshot, this.family, destination))
      return [{ ...state, out: 'lo' }];
    if (isRoutedByPolicy(this.snapshot, this.packet.source, destination, state.packetMark))
      return [{ ...state, out: specifiedOut, nextHop: undefined }];
    const route = findRoute(this.snapshot, this.family, destination);
    if (route && ['blackhole', 'unreachable', 'prohibit'].includes(route.type)) {
      this.verdicts.push({ kind: 'dropped', by: `route of type ${route.type}` });
      return [];
    }
    const nextHops = (route?.nextHops ?? []).filter(
      ({ device }) => specifiedOut === undefined || device === specifiedOut,
    );
    if (nextHops.length === 0) return [{ ...state, out: specifiedOut, nextHop: undefined }];
    return nextHops.map(({ device, via }) => ({ ...state, out: device, nextHop: via ?? destination }));
  }

  private hook(hook: Hook, states: readonly PacketState[]): PacketState[] {
    let current = [...states];
    for (const samePriority of byPriority(this.steps(hook))) current = inEveryOrder(samePriority, current);
    return current;
  }

  /**
   * Chains of type nat have one turn together, where the kernel's own nat hook is, whatever their priorities among
   * each other.
   */
  private steps(hook: Hook): HookStep[] {
    const active = this.snapshot.baseChains.filter(
      (baseChain) =>
        baseChain.hook === hook &&
        baseChain.table.families.includes(this.family) &&
        (baseChain.chain.rules.length > 0 || baseChain.policy === 'drop'),
    );
    const nat = active.filter(({ isNat }) => isNat);
    const steps = active
      .filter(({ isNat }) => !isNat)
      .map((baseChain) => hookStepOf(baseChain, (state) => this.filter(baseChain, state)));
    const natPriority = hook === 'postrouting' ? 100 : -100;
    return nat.length === 0
      ? steps
      : [...steps, { priority: natPriority, baseChains: nat, run: (state) => this.nat(nat, state) }];
  }

  private filter(baseChain: BaseChain, state: PacketState): PacketState[] {
    const { accepted, translated } = this.baseChain(baseChain, state);
    return [...accepted.list, ...translated.list];
  }

  /**
   * As nf_nat_inet_fn of the kernel's nf_nat_core.c does it: chains of type nat of every backend take turns until one has
   * translated the packet, and an ACCEPT only ends its own chain. Of two with equal priority that which was registered
   * last goes first, as test/core/explain/kernel/priority-order.test.ts measures; no dump tells which that is, so every order is followed.
   * Before Linux 4.18 only one backend had a say.
   */
  private nat(baseChains: readonly BaseChain[], state: PacketState): PacketState[] {
    if (!state.isTracked) return [state];
    const done = new PacketStates();
    const steps = baseChains.map((baseChain) =>
      hookStepOf(baseChain, (one) => {
        const { accepted, translated } = this.baseChain(baseChain, one);
        done.addAll(translated.list);
        return accepted.list;
      }),
    );
    let current = [state];
    for (const samePriority of byPriority(steps)) current = inEveryOrder(samePriority, current);
    done.addAll(current);
    return done.list;
  }

  private baseChain(baseChain: BaseChain, state: PacketState): ChainResult {
    const result = this.chain(baseChain, baseChain.chain, state);
    if (baseChain.policy === 'accept') {
      const accepted = new PacketStates([...result.accepted.list, ...result.returned.list]);
      return { ...result, accepted };
    }
    if (result.returned.list.length > 0)
      this.drop(`policy of ${baseChain.chain.name} in table ${baseChain.table.name}`);
    return result;
  }

  private drop(by: string): void {
    this.verdicts.push({ kind: 'dropped', by });
  }

  private chain(baseChain: BaseChain, chain: Chain, state: PacketState): ChainResult {
    const known = this.memo.get(chain) ?? new Map<string, ChainResult>();
    this.memo.set(chain, known);
    const key = `${baseChain.hook}|${stateKeyOf(state)}`;
    const result = known.get(key) ?? this.evaluateRules(baseChain, chain, state);
    known.set(key, result);
    return result;
  }

  private evaluateRules(baseChain: BaseChain, chain: Chain, state: PacketState): ChainResult {
    const result: ChainResult = {
      returned: new PacketStates(),
      accepted: new PacketStates(),
      translated: new PacketStates(),
    };
    const context: MatchContext = {
      ...{ snapshot: this.snapshot, packet: this.packet, in: this.in },
      ...{ hook: baseChain.hook, isBeforeConntrack: isBeforeConntrack(baseChain) },
    };
    let current = [state];
    for (const rule of chain.rules) {
      if (this.ignored.has(rule)) continue;
      const next = new PacketStates();
      for (const one of current) {
        const matched = evaluateMatches(rule.matches, one, context);
        this.recordEvaluation({ baseChain, chain, rule, matched, state: one, context });
        if (matched !== true) next.add(one);
        if (matched !== false) next.addAll(this.apply(baseChain, rule, one, result));
      }
      current = next.list;
      if (current.length === 0) break;
    }
    result.returned.addAll(current);
    return result;
  }

  private recordEvaluation(evaluation: Evaluation): void {
    const known = this.evaluations.get(evaluation.rule);
    if (!known) this.evaluations.set(evaluation.rule, evaluation);
    else if (known.matched !== evaluation.matched)
      this.evaluations.set(evaluation.rule, { ...known, matched: 'unknown' });
  }

  /** @returns the states that go on to the next rule */
  private apply(baseChain: BaseChain, rule: Rule, state: PacketState, result: ChainResult): PacketState[] {
    let current = [state];
    for (const target of rule.targets) {
      current = current.flatMap((one) => this.applyOne(baseChain, rule, target, one, result));
    }
    return current;
  }

  private applyOne(
    baseChain: BaseChain,
    rule: Rule,
    target: RuleTarget,
    state: PacketState,
    result: ChainResult,
  ): PacketState[] {
    switch (target.kind) {
      case 'accept':
        result.accepted.add(state);
        return [];
      case 'return':
        result.returned.add(state);
        return [];
      case 'drop':
        this.drop(rule.text);
        return [];
      case 'jump':
      case 'goto':
        return this.call(baseChain, target, state, result);
      case 'mark':
        return [
          !usesConnectionMark(target) ||
          hasConnection(state, { isBeforeConntrack: isBeforeConntrack(baseChain) })
            ? applyMark(target, state)
            : state,
        ];
      case 'notrack':
        return [{ ...state, isTracked: false }];
      case 'masquerade':
      case 'snat':
        result.translated.add({ ...state, translation: this.translation(rule, target, state) });
        return [];
      case 'dnat':
        for (const to of applyDnat(target, state)) result.translated.add(to);
        return [];
      case 'redirect':
        this.verdicts.push({ kind: 'local' });
        return [];
      case 'rewrite':
        return this.applyRewrite(rule, state);
      case 'unknown':
        return this.unknown(baseChain, rule, state, result);
    }
  }

  private call(
    baseChain: BaseChain,
    { kind, chain: name }: Extract<RuleTarget, { kind: 'jump' | 'goto' }>,
    state: PacketState,
    result: ChainResult,
  ) {
    const called = baseChain.table.chains.get(name);
    if (!called) return [state];
    const calledResult = this.chain(baseChain, called, state);
    result.accepted.addAll(calledResult.accepted.list);
    result.translated.addAll(calledResult.translated.list);
    if (kind === 'jump') return calledResult.returned.list;
    result.returned.addAll(calledResult.returned.list);
    return [];
  }

  private translation(
    by: Rule,
    target: Extract<RuleTarget, { kind: 'masquerade' | 'snat' }>,
    { out, nextHop }: PacketState,
  ): Translation {
    if (target.kind === 'snat') return { by, sources: expandRanges(target.ranges) };
    return {
      by,
      sources: out === undefined ? [] : masqueradeSources(this.snapshot, this.family, out, nextHop),
    };
  }

  /** It may be as before, have any source and destination, or be lost. */
  private applyRewrite(by: Rule, state: PacketState): PacketState[] {
    this.drop(by.text);
    const changed = {
      isTranslated: true,
      destination: undefined,
      destinationPort: undefined,
      nextHop: undefined,
    };
    return [state, { ...state, ...changed, translation: { by, sources: [] } }];
  }

  /** It may go on, be let through or be dropped; in table nat it may be translated to anything. */
  private unknown(baseChain: BaseChain, rule: Rule, state: PacketState, result: ChainResult): PacketState[] {
    const changed: PacketState = { ...state, packetMark: unknownMark, connectionMark: unknownMark };
    if (baseChain.isNat) {
      result.translated.add(
        baseChain.hook === 'postrouting'
          ? { ...state, translation: { by: rule, sources: [] } }
          : { ...state, isTranslated: true, destination: undefined, destinationPort: undefined },
      );
    }
    result.accepted.add(changed);
    this.drop(rule.text);
    return [changed];
  }
}

function applyMark(
  { of, clear, from, mask }: Extract<RuleTarget, { kind: 'mark' }>,
  state: PacketState,
): PacketState {
  const old = markOf(of, state);
  const other = typeof from === 'number' ? { value: from, known: fullMask } : markOf(from, state);
  const known = ((old.known | clear) & (other.known | ~mask)) >>> 0;
  const value = (((old.value & ~clear) ^ (other.value & mask)) & known) >>> 0;
  return { ...state, [of === 'packet' ? 'packetMark' : 'connectionMark']: { value, known } };
}

function applyDnat(
  { addresses, ports }: Extract<RuleTarget, { kind: 'dnat' }>,
  state: PacketState,
): PacketState[] {
  const port = !ports ? state.destinationPort : ports.first === ports.last ? ports.first : undefined;
  const to = addresses ? expandRanges(addresses) : [state.destination];
  return (to.length > 0 ? to : [undefined]).map((destination) => ({
    ...state,
    destination,
    destinationPort: port,
    isTranslated: destination !== state.destination || port !== state.destinationPort,
  }));
}

/** Every address in the spans; none where there are too many. */
function expandRanges(ranges: readonly Range[]): bigint[] {
  const count = ranges.reduce((sum, { first, last }) => sum + last - first + 1n, 0n);
  if (count > maxAddresses) return [];
  return ranges.flatMap(({ first, last }) =>
    Array.from({ length: Number(last - first) + 1 }, (_, index) => first + BigInt(index)),
  );
}

/** NF_IP_PRI_CONNTRACK of the kernel is -200. */
const isBeforeConntrack = ({ hook, priority }: BaseChain) =>
  (hook === 'prerouting' || hook === 'output') && priority < -200;

/** Where there is no connection these change nothing. */
const usesConnectionMark = ({ of, from }: Extract<RuleTarget, { kind: 'mark' }>) =>
  of === 'connection' || from === 'connection';

/** What the kernel calls at one time, and what it makes of a packet. */
interface HookStep {
  readonly priority: number;
  readonly baseChains: readonly BaseChain[];
  readonly run: (state: PacketState) => PacketState[];
}

const hookStepOf = (baseChain: BaseChain, run: HookStep['run']): HookStep => ({
  priority: baseChain.priority,
  baseChains: [baseChain],
  run,
});

function byPriority(steps: readonly HookStep[]): HookStep[][] {
  const groups = new Map<number, HookStep[]>();
  for (const step of steps) groups.set(step.priority, [...(groups.get(step.priority) ?? []), step]);
  return [...groups.entries()].sort(([a], [b]) => a - b).map(([, group]) => group);
}

/** Of more turns with one priority the orders are not followed one by one. */
const maxOrderedSteps = 6;

/**
 * Every order of turns with the same priority, where it matters: what a set of them lets through, last one by last
 * one. The sets of more than a few are too many; then any turn may be taken or not.
 */
function inEveryOrder(steps: readonly HookStep[], states: readonly PacketState[]): PacketState[] {
  const [only] = steps;
  if (only && steps.length === 1) return runStep(only, states);
  const [first, rest] = partitionCommuting(steps);
  const initial = first.reduce((current: readonly PacketState[], step) => runStep(step, current), states);
  if (rest.length > maxOrderedSteps) return inUnknownOrder(rest, initial);
  const statesBySubset = new Map<number, readonly PacketState[]>([[0, initial]]);
  for (let subset = 1; subset < 1 << rest.length; subset++) {
    const reached = new PacketStates();
    for (const [index, step] of rest.entries()) {
      const bit = 1 << index;
      if ((subset & bit) !== 0) reached.addAll(runStep(step, statesBySubset.get(subset & ~bit) ?? []));
    }
    statesBySubset.set(subset, reached.list);
  }
  return [...(statesBySubset.get((1 << rest.length) - 1) ?? [])];
}

/** What any of the turns, in any order and any number, make of the states: more than any one order does. */
function inUnknownOrder(steps: readonly HookStep[], states: readonly PacketState[]): PacketState[] {
  const reached = new PacketStates(states);
  for (let round = 0, before = 0; round < steps.length && before !== reached.size; round++) {
    before = reached.size;
    for (const step of steps) reached.addAll(runStep(step, reached.list));
  }
  return reached.list;
}

function runStep({ run }: HookStep, states: readonly PacketState[]): PacketState[] {
  return new PacketStates(states.flatMap(run)).list;
}

/** First the turns that change nothing for the others, then the others. */
function partitionCommuting(steps: readonly HookStep[]): [HookStep[], HookStep[]] {
  const kinds = new Map(steps.map((step) => [step, targetKindsOf(step)]));
  const hasOtherKinds = (step: HookStep, ...known: readonly RuleTarget['kind'][]) =>
    [...(kinds.get(step) ?? [])].some((kind) => !known.includes(kind));
  const controlFlow = ['accept', 'return', 'jump', 'goto'] as const;
  // To drop, or not to, is the same in any order as long as nobody changes what is asked for.
  const hasMutation = steps.some((step) => hasOtherKinds(step, ...controlFlow, 'drop'));
  const isOrderSensitive = (step: HookStep) => hasMutation && hasOtherKinds(step, ...controlFlow);
  return [steps.filter((step) => !isOrderSensitive(step)), steps.filter(isOrderSensitive)];
}

/** What the tables of a turn do with packets. */
function targetKindsOf({ baseChains }: HookStep): Set<RuleTarget['kind']> {
  const rules = [...new Set(baseChains.map(({ table }) => table))].flatMap(({ chains }) =>
    [...chains.values()].flatMap((chain) => chain.rules),
  );
  const kinds = new Set(rules.flatMap(({ targets }) => targets.map(({ kind }) => kind)));
  if (baseChains.some(({ policy }) => policy === 'drop')) kinds.add('drop');
  return kinds;
}

/** The matches of a rule that did not hold. */
export function failedMatches({ rule, state, context }: Evaluation) {
  return rule.matches.filter((match) => evaluateMatch(match, state, context) === false);
}
