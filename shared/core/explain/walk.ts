import type { Answer, Base, Chain, Family, Hook, Mark, Rule, Snapshot, Span, Target } from './model';
import { doAllMatch, hasConnection, isMatch, markOf, type State, type Translation, type View } from './match';
import { isLocal, isRoutedByPolicy, masqueradeSources, routeTo } from './network';
import type { Packet } from './packet';

/** How the packet ends, in one of the ways that what is not known leaves open. */
export type Fate =
  | {
      readonly kind: 'leaves';
      readonly translation: Translation | undefined;
      readonly out: string | undefined;
      /** Where it goes by then. `undefined`: not known. */
      readonly destination: bigint | undefined;
      readonly destinationPort: number | undefined;
    }
  | { readonly kind: 'stays' }
  | { readonly kind: 'dropped'; readonly by: string };

/** A rule that the packet came to. */
export interface Sight {
  readonly base: Base;
  readonly chain: Chain;
  readonly rule: Rule;
  readonly answer: Answer;
  readonly state: State;
  readonly view: View;
}

export interface Walked {
  readonly fates: readonly Fate[];
  /** In the order of the packet's way; each rule once. */
  readonly sights: readonly Sight[];
}

/** What the packet may do in a chain: go back to the caller, or end the table's part of the way. */
interface Ends {
  readonly falls: States;
  readonly accepted: States;
  readonly translated: States;
}

const whole = 0xffffffff;
const noMark: Mark = { value: 0, known: whole };
const anyMark: Mark = { value: 0, known: 0 };
/** More ways than these at one rule are joined into one that knows less. */
const maxStates = 64;
/** Longer lists of addresses are not told one by one. */
const maxAddresses = 64;

/** States without their doubles. */
class States {
  private readonly byKey = new Map<string, State>();

  constructor(states: Iterable<State> = []) {
    this.addAll(states);
  }

  add(state: State): void {
    this.byKey.set(keyOf(state), state);
  }

  addAll(states: Iterable<State>): void {
    for (const state of states) this.add(state);
  }

  get size(): number {
    return this.byKey.size;
  }

  get list(): State[] {
    const states = [...this.byKey.values()];
    return states.length > maxStates ? joined(states) : states;
  }
}

const ruleIds = new WeakMap<Rule, number>();
let rulesSeen = 0;

function idOf(rule: Rule): number {
  const known = ruleIds.get(rule) ?? ++rulesSeen;
  ruleIds.set(rule, known);
  return known;
}

const keys = new WeakMap<State, string>();

/** Most rules let a state pass as it is. */
function keyOf(state: State): string {
  const key = keys.get(state) ?? makeKey(state);
  keys.set(state, key);
  return key;
}

function makeKey(state: State): string {
  const { packetMark: mark, connectionMark: connection, translation } = state;
  return [
    ...[state.destination, state.destinationPort, state.isTranslated, state.isTracked, state.out, state.hop],
    ...[mark.value, mark.known, connection.value, connection.known],
    ...(translation ? [idOf(translation.by), translation.sources.join(' ')] : []),
  ].join('|');
}

/** One state for all that agree on what may not be lost; the rest is known where all agree. */
function joined(states: readonly State[]): State[] {
  const groups = new Map<string, State>();
  for (const state of states) {
    const { translation, isTracked, isTranslated } = state;
    const key = [isTracked, isTranslated, translation && idOf(translation.by)].join('|');
    const other = groups.get(key);
    groups.set(key, other ? join(other, state) : state);
  }
  return [...groups.values()];
}

function join(a: State, b: State): State {
  const same = <T>(one: T, other: T) => (one === other ? one : undefined);
  return {
    ...a,
    destination: same(a.destination, b.destination),
    destinationPort: same(a.destinationPort, b.destinationPort),
    packetMark: joinMarks(a.packetMark, b.packetMark),
    connectionMark: joinMarks(a.connectionMark, b.connectionMark),
    out: same(a.out, b.out),
    hop: same(a.hop, b.hop),
    translation: a.translation && joinTranslations(a.translation, b.translation?.sources ?? []),
  };
}

function joinTranslations({ by, sources }: Translation, others: readonly bigint[]): Translation {
  const isKnown = sources.length > 0 && others.length > 0;
  return { by, sources: isKnown ? [...new Set([...sources, ...others])] : [] };
}

function joinMarks(a: Mark, b: Mark): Mark {
  const known = (a.known & b.known & ~(a.value ^ b.value)) >>> 0;
  return { value: (a.value & known) >>> 0, known };
}

/** Follows a packet to the end of POSTROUTING. Rules in `ignored` are taken for absent. */
export function walk(snapshot: Snapshot, packet: Packet, ignored: ReadonlySet<Rule> = new Set()): Walked {
  return new Walk(snapshot, packet, ignored).run();
}

class Walk {
  private readonly fates: Fate[] = [];
  private readonly sights = new Map<Rule, Sight>();
  private readonly memo = new Map<Chain, Map<string, Ends>>();
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

  run(): Walked {
    const { packet } = this;
    const start: State = {
      destination: packet.destination.first,
      destinationPort: packet.destinationPort,
      ...{ isTranslated: false, isTracked: true, packetMark: noMark, connectionMark: noMark },
      ...{ out: undefined, hop: undefined, translation: undefined },
    };
    const routed = packet.isFromNode
      ? this.route(this.hook('output', this.outOf(start)))
      : this.hook('forward', this.route(this.hook('prerouting', [start])));
    for (const state of this.hook('postrouting', routed)) {
      const { translation, out, destination, destinationPort } = state;
      this.fates.push({ kind: 'leaves', translation, out, destination, destinationPort });
    }
    return { fates: this.fates, sights: [...this.sights.values()] };
  }

  /** A pod's device: the default route leads to no pod. */
  private deviceOf(source: bigint): string | undefined {
    const route = routeTo(this.snapshot, this.family, source);
    return route && route.prefix > 0 && route.hops.length === 1 ? route.hops[0]?.device : undefined;
  }

  private route(states: readonly State[]): State[] {
    return states.flatMap((state) => {
      const isHere =
        state.destination !== undefined && isLocal(this.snapshot, this.family, state.destination);
      if (isHere) this.fates.push({ kind: 'stays' });
      return isHere ? [] : this.outOf(state);
    });
  }

  /** The same state with the interface that it leaves by: one for each that the kernel may choose. */
  private outOf(state: State): State[] {
    const { destination } = state;
    const given = state.isTranslated ? undefined : this.packet.out;
    if (destination === undefined) return [{ ...state, out: given, hop: undefined }];
    if (this.packet.isFromNode && isLocal(this.snapshot, this.family, destination))
      return [{ ...state, out: 'lo' }];
    if (isRoutedByPolicy(this.snapshot, this.packet.source, destination, state.packetMark))
      return [{ ...state, out: given, hop: undefined }];
    const route = routeTo(this.snapshot, this.family, destination);
    if (route && ['blackhole', 'unreachable', 'prohibit'].includes(route.type)) {
      this.fates.push({ kind: 'dropped', by: `route of type ${route.type}` });
      return [];
    }
    const hops = (route?.hops ?? []).filter(({ device }) => given === undefined || device === given);
    if (hops.length === 0) return [{ ...state, out: given, hop: undefined }];
    return hops.map(({ device, via }) => ({ ...state, out: device, hop: via ?? destination }));
  }

  private hook(hook: Hook, states: readonly State[]): State[] {
    let current = [...states];
    for (const equal of byPriority(this.turns(hook))) current = inAnyOrder(equal, current);
    return current;
  }

  /**
   * Chains of type nat have one turn together, where the kernel's own nat hook is, whatever their priorities among
   * each other.
   */
  private turns(hook: Hook): Turn[] {
    const active = this.snapshot.bases.filter(
      (base) =>
        base.hook === hook &&
        base.table.families.includes(this.family) &&
        (base.chain.rules.length > 0 || base.policy === 'drop'),
    );
    const nat = active.filter(({ isNat }) => isNat);
    const turns = active
      .filter(({ isNat }) => !isNat)
      .map((base) => turnOf(base, (state) => this.filter(base, state)));
    const natPriority = hook === 'postrouting' ? 100 : -100;
    return nat.length === 0
      ? turns
      : [...turns, { priority: natPriority, bases: nat, pass: (state) => this.nat(nat, state) }];
  }

  private filter(base: Base, state: State): State[] {
    const { accepted, translated } = this.base(base, state);
    return [...accepted.list, ...translated.list];
  }

  /**
   * As nf_nat_inet_fn of the kernel's nf_nat_core.c does it: chains of type nat of every backend take turns until one has
   * translated the packet, and an ACCEPT only ends its own chain. Of two with equal priority that which was registered
   * last goes first, as test/explain/order.test.ts measures; no dump tells which that is, so every order is followed.
   * Before Linux 4.18 only one backend had a say.
   */
  private nat(bases: readonly Base[], state: State): State[] {
    if (!state.isTracked) return [state];
    const done = new States();
    const turns = bases.map((base) =>
      turnOf(base, (one) => {
        const { accepted, translated } = this.base(base, one);
        done.addAll(translated.list);
        return accepted.list;
      }),
    );
    let current = [state];
    for (const equal of byPriority(turns)) current = inAnyOrder(equal, current);
    done.addAll(current);
    return done.list;
  }

  private base(base: Base, state: State): Ends {
    const ends = this.chain(base, base.chain, state);
    if (base.policy === 'accept') {
      const accepted = new States([...ends.accepted.list, ...ends.falls.list]);
      return { ...ends, accepted };
    }
    if (ends.falls.list.length > 0) this.drop(`policy of ${base.chain.name} in table ${base.table.name}`);
    return ends;
  }

  private drop(by: string): void {
    this.fates.push({ kind: 'dropped', by });
  }

  private chain(base: Base, chain: Chain, state: State): Ends {
    const known = this.memo.get(chain) ?? new Map<string, Ends>();
    this.memo.set(chain, known);
    const key = `${base.hook}|${keyOf(state)}`;
    const ends = known.get(key) ?? this.follow(base, chain, state);
    known.set(key, ends);
    return ends;
  }

  private follow(base: Base, chain: Chain, state: State): Ends {
    const ends: Ends = { falls: new States(), accepted: new States(), translated: new States() };
    const view: View = {
      ...{ snapshot: this.snapshot, packet: this.packet, in: this.in },
      ...{ hook: base.hook, isBeforeConntrack: isBeforeConntrack(base) },
    };
    let current = [state];
    for (const rule of chain.rules) {
      if (this.ignored.has(rule)) continue;
      const next = new States();
      for (const one of current) {
        const answer = doAllMatch(rule.matches, one, view);
        this.see({ base, chain, rule, answer, state: one, view });
        if (answer !== true) next.add(one);
        if (answer !== false) next.addAll(this.apply(base, rule, one, ends));
      }
      current = next.list;
      if (current.length === 0) break;
    }
    ends.falls.addAll(current);
    return ends;
  }

  private see(sight: Sight): void {
    const known = this.sights.get(sight.rule);
    if (!known) this.sights.set(sight.rule, sight);
    else if (known.answer !== sight.answer) this.sights.set(sight.rule, { ...known, answer: 'unknown' });
  }

  /** @returns the states that go on to the next rule */
  private apply(base: Base, rule: Rule, state: State, ends: Ends): State[] {
    let current = [state];
    for (const target of rule.targets) {
      current = current.flatMap((one) => this.applyOne(base, rule, target, one, ends));
    }
    return current;
  }

  private applyOne(base: Base, rule: Rule, target: Target, state: State, ends: Ends): State[] {
    switch (target.kind) {
      case 'accept':
        ends.accepted.add(state);
        return [];
      case 'return':
        ends.falls.add(state);
        return [];
      case 'drop':
        this.drop(rule.text);
        return [];
      case 'jump':
      case 'goto':
        return this.call(base, target, state, ends);
      case 'mark':
        return [
          !touchesConnection(target) || hasConnection(state, { isBeforeConntrack: isBeforeConntrack(base) })
            ? marked(target, state)
            : state,
        ];
      case 'notrack':
        return [{ ...state, isTracked: false }];
      case 'masquerade':
      case 'snat':
        ends.translated.add({ ...state, translation: this.translation(rule, target, state) });
        return [];
      case 'dnat':
        for (const to of redirected(target, state)) ends.translated.add(to);
        return [];
      case 'redirect':
        this.fates.push({ kind: 'stays' });
        return [];
      case 'rewrite':
        return this.rewritten(rule, state);
      case 'unknown':
        return this.unknown(base, rule, state, ends);
    }
  }

  private call(
    base: Base,
    { kind, chain: name }: Extract<Target, { kind: 'jump' | 'goto' }>,
    state: State,
    ends: Ends,
  ) {
    const called = base.table.chains.get(name);
    if (!called) return [state];
    const inside = this.chain(base, called, state);
    ends.accepted.addAll(inside.accepted.list);
    ends.translated.addAll(inside.translated.list);
    if (kind === 'jump') return inside.falls.list;
    ends.falls.addAll(inside.falls.list);
    return [];
  }

  private translation(
    by: Rule,
    target: Extract<Target, { kind: 'masquerade' | 'snat' }>,
    { out, hop }: State,
  ): Translation {
    if (target.kind === 'snat') return { by, sources: listed(target.spans) };
    return { by, sources: out === undefined ? [] : masqueradeSources(this.snapshot, this.family, out, hop) };
  }

  /** It may be as before, have any source and destination, or be lost. */
  private rewritten(by: Rule, state: State): State[] {
    this.drop(by.text);
    const changed = {
      isTranslated: true,
      destination: undefined,
      destinationPort: undefined,
      hop: undefined,
    };
    return [state, { ...state, ...changed, translation: { by, sources: [] } }];
  }

  /** It may go on, be let through or be dropped; in table nat it may be translated to anything. */
  private unknown(base: Base, rule: Rule, state: State, ends: Ends): State[] {
    const changed: State = { ...state, packetMark: anyMark, connectionMark: anyMark };
    if (base.isNat) {
      ends.translated.add(
        base.hook === 'postrouting'
          ? { ...state, translation: { by: rule, sources: [] } }
          : { ...state, isTranslated: true, destination: undefined, destinationPort: undefined },
      );
    }
    ends.accepted.add(changed);
    this.drop(rule.text);
    return [changed];
  }
}

function marked({ of, clear, from, mask }: Extract<Target, { kind: 'mark' }>, state: State): State {
  const old = markOf(of, state);
  const other = typeof from === 'number' ? { value: from, known: whole } : markOf(from, state);
  const known = ((old.known | clear) & (other.known | ~mask)) >>> 0;
  const value = (((old.value & ~clear) ^ (other.value & mask)) & known) >>> 0;
  return { ...state, [of === 'packet' ? 'packetMark' : 'connectionMark']: { value, known } };
}

function redirected({ addresses, ports }: Extract<Target, { kind: 'dnat' }>, state: State): State[] {
  const port = !ports ? state.destinationPort : ports.first === ports.last ? ports.first : undefined;
  const to = addresses ? listed(addresses) : [state.destination];
  return (to.length > 0 ? to : [undefined]).map((destination) => ({
    ...state,
    destination,
    destinationPort: port,
    isTranslated: destination !== state.destination || port !== state.destinationPort,
  }));
}

/** Every address in the spans; none where there are too many. */
function listed(spans: readonly Span[]): bigint[] {
  const count = spans.reduce((sum, { first, last }) => sum + last - first + 1n, 0n);
  if (count > maxAddresses) return [];
  return spans.flatMap(({ first, last }) =>
    Array.from({ length: Number(last - first) + 1 }, (_, index) => first + BigInt(index)),
  );
}

/** NF_IP_PRI_CONNTRACK of the kernel is -200. */
const isBeforeConntrack = ({ hook, priority }: Base) =>
  (hook === 'prerouting' || hook === 'output') && priority < -200;

/** Where there is no connection these change nothing. */
const touchesConnection = ({ of, from }: Extract<Target, { kind: 'mark' }>) =>
  of === 'connection' || from === 'connection';

/** What the kernel calls at one time, and what it makes of a packet. */
interface Turn {
  readonly priority: number;
  readonly bases: readonly Base[];
  readonly pass: (state: State) => State[];
}

const turnOf = (base: Base, pass: Turn['pass']): Turn => ({ priority: base.priority, bases: [base], pass });

function byPriority(turns: readonly Turn[]): Turn[][] {
  const groups = new Map<number, Turn[]>();
  for (const turn of turns) groups.set(turn.priority, [...(groups.get(turn.priority) ?? []), turn]);
  return [...groups.entries()].sort(([a], [b]) => a - b).map(([, group]) => group);
}

/** Of more turns with one priority the orders are not followed one by one. */
const maxOrdered = 6;

/**
 * Every order of turns with the same priority, where it matters: what a set of them lets through, last one by last
 * one. The sets of more than a few are too many; then any turn may be taken or not.
 */
function inAnyOrder(turns: readonly Turn[], states: readonly State[]): State[] {
  const [only] = turns;
  if (only && turns.length === 1) return passed(only, states);
  const [first, rest] = commuting(turns);
  const begun = first.reduce((current: readonly State[], turn) => passed(turn, current), states);
  if (rest.length > maxOrdered) return inNoOrder(rest, begun);
  const through = new Map<number, readonly State[]>([[0, begun]]);
  for (let chosen = 1; chosen < 1 << rest.length; chosen++) {
    const reached = new States();
    for (const [index, turn] of rest.entries()) {
      const bit = 1 << index;
      if ((chosen & bit) !== 0) reached.addAll(passed(turn, through.get(chosen & ~bit) ?? []));
    }
    through.set(chosen, reached.list);
  }
  return [...(through.get((1 << rest.length) - 1) ?? [])];
}

/** What any of the turns, in any order and any number, make of the states: more than any one order does. */
function inNoOrder(turns: readonly Turn[], states: readonly State[]): State[] {
  const reached = new States(states);
  for (let round = 0, before = 0; round < turns.length && before !== reached.size; round++) {
    before = reached.size;
    for (const turn of turns) reached.addAll(passed(turn, reached.list));
  }
  return reached.list;
}

function passed({ pass }: Turn, states: readonly State[]): State[] {
  return new States(states.flatMap(pass)).list;
}

/** First the turns that change nothing for the others, then the others. */
function commuting(turns: readonly Turn[]): [Turn[], Turn[]] {
  const kinds = new Map(turns.map((turn) => [turn, kindsOf(turn)]));
  const hasOther = (turn: Turn, ...known: readonly Target['kind'][]) =>
    [...(kinds.get(turn) ?? [])].some((kind) => !known.includes(kind));
  const passing = ['accept', 'return', 'jump', 'goto'] as const;
  // To drop, or not to, is the same in any order as long as nobody changes what is asked for.
  const isChanged = turns.some((turn) => hasOther(turn, ...passing, 'drop'));
  const matters = (turn: Turn) => isChanged && hasOther(turn, ...passing);
  return [turns.filter((turn) => !matters(turn)), turns.filter(matters)];
}

/** What the tables of a turn do with packets. */
function kindsOf({ bases }: Turn): Set<Target['kind']> {
  const rules = [...new Set(bases.map(({ table }) => table))].flatMap(({ chains }) =>
    [...chains.values()].flatMap((chain) => chain.rules),
  );
  const kinds = new Set(rules.flatMap(({ targets }) => targets.map(({ kind }) => kind)));
  if (bases.some(({ policy }) => policy === 'drop')) kinds.add('drop');
  return kinds;
}

/** The matches of a rule that did not hold. */
export function failing({ rule, state, view }: Sight) {
  return rule.matches.filter((match) => isMatch(match, state, view) === false);
}
