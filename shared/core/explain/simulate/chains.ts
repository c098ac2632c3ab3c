import type { BaseChain, Chain, MarkField, Range, Rule, RuleTarget } from '../model';
import { fullMask } from '../ranges';
import type { Snapshot } from '../snapshot';
import { runsBeforeConntrack } from '../tables';
import { evaluateMatches } from './match';
import type { Packet } from './packet';
import {
  changeState,
  hasConnection,
  markOf,
  PacketStates,
  unknownMark,
  type MatchContext,
  type PacketState,
  type Translation,
} from './packet-state';
import { masqueradeSources } from './routing';
import type { DropPoint, Evaluation, Verdict } from './trace';

/** The states that the packet may be in when it leaves a chain. */
export interface ChainResult {
  /** States that return to the calling chain. */
  readonly returned: PacketStates;
  /** States that skip the rest of the table. */
  readonly accepted: PacketStates;
  readonly translated: PacketStates;
}

/** A rule that the packet has reached. */
interface RuleVisit {
  readonly baseChain: BaseChain;
  readonly chain: Chain;
  readonly rule: Rule;
  readonly context: MatchContext;
  readonly result: ChainResult;
}

interface ChainRunnerOptions {
  readonly snapshot: Snapshot;
  readonly packet: Packet;
  /** The interface on which the packet arrives. Empty if the node itself sends the packet. */
  readonly in: string | undefined;
  readonly select: RuleSelector;
}

/** Selects the rules of a chain that a walk evaluates, in order. */
export type RuleSelector = (chain: Chain, state: PacketState) => Iterable<Rule>;

/** Runs the possible states of one packet through chains, and records the evaluations and verdicts. */
export class ChainRunner {
  readonly verdicts: Verdict[] = [];
  /** In the order in which the packet reached the rules. */
  readonly evaluations = new Map<Rule, Evaluation>();
  private readonly results = new Map<Chain, Map<string, ChainResult>>();
  private readonly ruleIds = new Map<Rule, number>();

  constructor(private readonly options: ChainRunnerOptions) {}

  run(baseChain: BaseChain, state: PacketState): ChainResult {
    const { chain, table, policy } = baseChain;
    const result = this.runChain(baseChain, chain, state);
    if (policy === 'accept')
      return { ...result, accepted: new PacketStates([...result.accepted.list, ...result.returned.list]) };
    for (const returned of result.returned.list)
      this.drop(`policy of ${chain.name} in table ${table.name}`, {
        baseChain,
        chain,
        rule: undefined,
        state: returned,
      });
    return result;
  }

  /** @param at undefined if a route drops the packet */
  drop(by: string, at: DropPoint | undefined): void {
    this.verdicts.push({ kind: 'dropped', by, at });
  }

  private dropByRule({ baseChain, chain, rule }: RuleVisit, state: PacketState): void {
    this.drop(rule.text, { baseChain, chain, rule, state });
  }

  private runChain(baseChain: BaseChain, chain: Chain, state: PacketState): ChainResult {
    const known = this.results.get(chain) ?? new Map<string, ChainResult>();
    this.results.set(chain, known);
    const key = `${baseChain.hook}|${state.key}`;
    const result = known.get(key) ?? this.evaluateRules(baseChain, chain, state);
    known.set(key, result);
    return result;
  }

  private evaluateRules(baseChain: BaseChain, chain: Chain, start: PacketState): ChainResult {
    const result: ChainResult = {
      returned: new PacketStates(),
      accepted: new PacketStates(),
      translated: new PacketStates(),
    };
    const context = this.contextOf(baseChain);
    let current = [start];
    for (const rule of this.options.select(chain, start)) {
      const next = new PacketStates();
      for (const state of current) {
        const matched = evaluateMatches(rule.matches, state, context);
        this.recordEvaluation({ baseChain, chain, rule, matched, state, context });
        if (matched !== true) next.add(state);
        if (matched !== false)
          next.addAll(this.applyTargets({ baseChain, chain, rule, context, result }, state));
      }
      current = next.list;
      if (current.length === 0) break;
    }
    result.returned.addAll(current);
    return result;
  }

  private contextOf(baseChain: BaseChain): MatchContext {
    const { snapshot, packet, in: incoming } = this.options;
    const isBeforeConntrack = runsBeforeConntrack(baseChain);
    return { snapshot, packet, in: incoming, hook: baseChain.hook, isBeforeConntrack };
  }

  private recordEvaluation(evaluation: Evaluation): void {
    const known = this.evaluations.get(evaluation.rule);
    if (!known) this.evaluations.set(evaluation.rule, evaluation);
    else if (known.matched !== evaluation.matched)
      this.evaluations.set(evaluation.rule, { ...known, matched: 'unknown' });
  }

  /** @returns the states that continue with the next rule */
  private applyTargets(visit: RuleVisit, state: PacketState): PacketState[] {
    let current = [state];
    for (const target of visit.rule.targets)
      current = current.flatMap((each) => this.applyTarget(visit, target, each));
    return current;
  }

  private applyTarget(visit: RuleVisit, target: RuleTarget, state: PacketState): PacketState[] {
    const { rule, result, context } = visit;
    switch (target.kind) {
      case 'accept':
        result.accepted.add(state);
        return [];
      case 'return':
        result.returned.add(state);
        return [];
      case 'drop':
        this.dropByRule(visit, state);
        return [];
      case 'jump':
      case 'goto':
        return this.callChain(visit, target, state);
      case 'mark':
        if (usesConnectionMark(target) && !hasConnection(state, context)) return [state];
        return [applyMark(target, state)];
      case 'notrack':
        return [changeState(state, { isTracked: false })];
      case 'masquerade':
      case 'snat': {
        const sources = target.kind === 'snat' ? expandRanges(target.ranges) : this.masqueradeSources(state);
        result.translated.add(changeState(state, { translation: this.translationBy(rule, sources) }));
        return [];
      }
      case 'dnat':
        result.translated.addAll(applyDnat(target, state));
        return [];
      case 'redirect':
        this.verdicts.push({ kind: 'local' });
        return [];
      case 'rewrite':
        // The receiver may drop the packet, because the new destination or the checksum may be wrong.
        this.dropByRule(visit, state);
        return applyRewrite(state, this.translationBy(rule, []));
      case 'unknown':
        return this.applyUnknown(visit, state);
    }
  }

  private callChain(
    { baseChain, result }: RuleVisit,
    { kind, chain: name }: TargetOf<'jump' | 'goto'>,
    state: PacketState,
  ): PacketState[] {
    const called = baseChain.table.chains.get(name);
    if (!called) return [state];
    const { accepted, translated, returned } = this.runChain(baseChain, called, state);
    result.accepted.addAll(accepted.list);
    result.translated.addAll(translated.list);
    if (kind === 'jump') return returned.list;
    result.returned.addAll(returned.list);
    return [];
  }

  private masqueradeSources({ out, nextHop }: PacketState): bigint[] {
    const { snapshot, packet } = this.options;
    return masqueradeSources(snapshot, { family: packet.destination.family, device: out, nextHop });
  }

  private translationBy(rule: Rule, sources: readonly bigint[]): Translation {
    const ruleId = this.ruleIds.get(rule) ?? this.ruleIds.size;
    this.ruleIds.set(rule, ruleId);
    return { by: rule, ruleId, sources };
  }

  /**
   * Applies an unknown target: the packet may continue, be accepted or be dropped. In table nat its addresses may
   * also change to any value.
   */
  private applyUnknown(visit: RuleVisit, state: PacketState): PacketState[] {
    const { baseChain, rule, result } = visit;
    const changed = forgetMarks(state);
    if (baseChain.isNat) {
      result.translated.add(
        baseChain.hook === 'postrouting'
          ? changeState(state, { translation: this.translationBy(rule, []) })
          : forgetDestination(state),
      );
    }
    result.accepted.add(changed);
    this.dropByRule(visit, state);
    return [changed];
  }
}

type TargetOf<Kind extends RuleTarget['kind']> = Extract<RuleTarget, { kind: Kind }>;

/** The maximum number of addresses that are followed. With more addresses the result is unknown. */
const maxAddresses = 64;

function applyMark({ field, clear, from, mask }: TargetOf<'mark'>, state: PacketState): PacketState {
  const old = markOf(field, state);
  const operand = typeof from === 'number' ? { value: from, known: fullMask } : markOf(from, state);
  const known = ((old.known | clear) & (operand.known | ~mask)) >>> 0;
  const value = (((old.value & ~clear) ^ (operand.value & mask)) & known) >>> 0;
  return changeState(state, { [markNames[field]]: { value, known } });
}

const markNames = { packet: 'packetMark', connection: 'connectionMark' } as const satisfies Record<
  MarkField,
  keyof PacketState
>;

/** Targets that use the connection mark have no effect on packets without a connection. */
const usesConnectionMark = ({ field, from }: TargetOf<'mark'>) =>
  field === 'connection' || from === 'connection';

function applyDnat({ addresses, ports }: TargetOf<'dnat'>, state: PacketState): PacketState[] {
  const destinationPort = ports ? singleValue(ports) : state.destinationPort;
  const destinations = addresses ? expandRanges(addresses) : [state.destination];
  return (destinations.length > 0 ? destinations : [undefined]).map((destination) =>
    changeState(state, {
      destination,
      destinationPort,
      isTranslated: destination !== state.destination || destinationPort !== state.destinationPort,
    }),
  );
}

const singleValue = ({ first, last }: Range<number>) => (first === last ? first : undefined);

/** Returns every address in the ranges, or an empty list if there are too many. */
function expandRanges(ranges: readonly Range[]): bigint[] {
  const count = ranges.reduce((sum, { first, last }) => sum + last - first + 1n, 0n);
  if (count > maxAddresses) return [];
  return ranges.flatMap(({ first, last }) =>
    Array.from({ length: Number(last - first) + 1 }, (_, index) => first + BigInt(index)),
  );
}

/** Returns two states: the packet unchanged, and the packet with any source and destination. */
const applyRewrite = (state: PacketState, translation: Translation): PacketState[] => [
  state,
  changeState(state, {
    isTranslated: true,
    destination: undefined,
    destinationPort: undefined,
    nextHop: undefined,
    translation,
  }),
];

const forgetMarks = (state: PacketState): PacketState =>
  changeState(state, { packetMark: unknownMark, connectionMark: unknownMark });

const forgetDestination = (state: PacketState): PacketState =>
  changeState(state, { isTranslated: true, destination: undefined, destinationPort: undefined });
