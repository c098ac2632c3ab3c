import { groupBy } from '../../util/collections';
import { memoizeByObject } from '../../util/functional';
import type { BaseChain, Family, Hook, Rule, RuleTarget, Table } from '../model';
import type { Snapshot } from '../snapshot';
import { ChainRunner, type RuleSelector } from './chains';
import type { Packet } from './packet';
import { changeState, initialState, PacketStates, type PacketState } from './packet-state';
import { findRoute, isLocal, isRoutedByPolicy } from './routing';
import type { EgressVerdict, Trace } from './trace';

export const egressOf = ({ verdicts }: Trace): EgressVerdict[] =>
  verdicts.filter((verdict) => verdict.kind === 'egress');

const everyRule: RuleSelector = ({ rules }) => rules;

/** Selects all rules except some, as if those did not exist. */
export const rulesExcept =
  (ignored: ReadonlySet<Rule>): RuleSelector =>
  ({ rules }) =>
    rules.filter((rule) => !ignored.has(rule));

/** Follows a packet to the end of POSTROUTING, through the selected rules. */
export function walk(snapshot: Snapshot, packet: Packet, select: RuleSelector = everyRule): Trace {
  return new Walker(snapshot, packet, select).run();
}

const rejectingRouteTypes: ReadonlySet<string> = new Set(['blackhole', 'unreachable', 'prohibit']);

class Walker {
  private readonly family: Family;
  private readonly chains: ChainRunner;

  constructor(
    private readonly snapshot: Snapshot,
    private readonly packet: Packet,
    select: RuleSelector,
  ) {
    this.family = packet.destination.family;
    const incoming = packet.isFromNode ? '' : (packet.in ?? this.podDevice(packet.source.value));
    this.chains = new ChainRunner({ snapshot, packet, in: incoming, select });
  }

  run(): Trace {
    const { verdicts, evaluations } = this.chains;
    const start = initialState(this.packet);
    const routed = this.packet.isFromNode
      ? this.route(this.runHook('output', this.selectInterfaces(start)))
      : this.runHook('forward', this.route(this.runHook('prerouting', [start])));
    for (const state of this.runHook('postrouting', routed)) {
      const { translation, isTracked, out, destination, destinationPort } = state;
      verdicts.push({ kind: 'egress', translation, isTracked, out, destination, destinationPort });
    }
    return { verdicts, evaluations: [...evaluations.values()] };
  }

  /** Returns the interface of the route to a pod. Default routes are ignored, because they do not lead to pods. */
  private podDevice(source: bigint): string | undefined {
    const route = findRoute(this.snapshot, this.family, source);
    return route && route.prefix > 0 && route.nextHops.length === 1 ? route.nextHops[0]?.device : undefined;
  }

  private isLocal(address: bigint): boolean {
    return isLocal(this.snapshot, { family: this.family, address }) === true;
  }

  private route(states: readonly PacketState[]): PacketState[] {
    return states.flatMap((state) => {
      if (state.destination === undefined || !this.isLocal(state.destination))
        return this.selectInterfaces(state);
      this.chains.verdicts.push({ kind: 'local' });
      return [];
    });
  }

  /** Returns one state for each interface through which the kernel may send the packet. */
  private selectInterfaces(state: PacketState): PacketState[] {
    const { destination, packetMark: mark } = state;
    const { source, isFromNode } = this.packet;
    const specified = state.isTranslated ? undefined : this.packet.out;
    const unknownRoute = () => [changeState(state, { out: specified, nextHop: undefined })];
    if (destination === undefined) return unknownRoute();
    if (isFromNode && this.isLocal(destination)) return [changeState(state, { out: 'lo' })];
    if (isRoutedByPolicy(this.snapshot, { source, destination, mark })) return unknownRoute();
    const route = findRoute(this.snapshot, this.family, destination);
    if (route && rejectingRouteTypes.has(route.type)) {
      this.chains.drop(`route of type ${route.type}`, undefined);
      return [];
    }
    const nextHops = (route?.nextHops ?? []).filter(
      ({ device }) => specified === undefined || device === specified,
    );
    if (nextHops.length === 0) return unknownRoute();
    return nextHops.map(({ device, via }) =>
      changeState(state, { out: device, nextHop: via ?? destination }),
    );
  }

  /**
   * Runs the chains of a hook. Chains of type nat run together at the position of the kernel's own nat hook,
   * regardless of their priorities.
   */
  private runHook(hook: Hook, states: readonly PacketState[]): PacketState[] {
    const active = this.snapshot.baseChains.filter(
      (baseChain) =>
        baseChain.hook === hook &&
        baseChain.table.families.includes(this.family) &&
        (baseChain.chain.rules.length > 0 || baseChain.policy === 'drop'),
    );
    const natChains = active.filter(({ isNat }) => isNat);
    const steps = active.filter(({ isNat }) => !isNat).map((baseChain) => this.filterStep(baseChain));
    return runSteps(natChains.length > 0 ? [...steps, this.natStep(hook, natChains)] : steps, states);
  }

  private filterStep(baseChain: BaseChain): HookStep {
    const run = (state: PacketState) => {
      const { accepted, translated } = this.chains.run(baseChain, state);
      return [...accepted.list, ...translated.list];
    };
    return { priority: baseChain.priority, baseChains: [baseChain], run };
  }

  private natStep(hook: Hook, baseChains: readonly BaseChain[]): HookStep {
    const priority = hook === 'postrouting' ? 100 : -100;
    return { priority, baseChains, run: (state) => this.runNat(baseChains, state) };
  }

  /**
   * Runs chains of type nat as nf_nat_inet_fn in the kernel's nf_nat_core.c does. The chains of all backends run
   * until one of them translates the packet; an ACCEPT ends only its own chain. If two chains have the same priority,
   * the chain that was registered last runs first (test/core/explain/kernel/priority-order.test.ts measures that). A
   * dump does not show the order of registration, so every order is followed. Before Linux 4.18 only one backend had
   * an effect.
   */
  private runNat(baseChains: readonly BaseChain[], state: PacketState): PacketState[] {
    if (!state.isTracked) return [state];
    const done = new PacketStates();
    const steps = baseChains.map((baseChain): HookStep => {
      const run = (current: PacketState) => {
        const { accepted, translated } = this.chains.run(baseChain, current);
        done.addAll(translated.list);
        return accepted.list;
      };
      return { priority: baseChain.priority, baseChains: [baseChain], run };
    });
    done.addAll(runSteps(steps, [state]));
    return done.list;
  }
}

/** Chains that the kernel calls together, and a function that runs them. */
interface HookStep {
  readonly priority: number;
  readonly baseChains: readonly BaseChain[];
  readonly run: (state: PacketState) => PacketState[];
}

/** Runs the steps of a hook in order of priority. Steps with the same priority run in every possible order. */
function runSteps(steps: readonly HookStep[], states: readonly PacketState[]): PacketState[] {
  const byPriority = groupBy(steps, ({ priority }) => priority);
  const inOrder = [...byPriority].sort(([a], [b]) => a - b);
  return inOrder.reduce((current, [, samePriority]) => inEveryOrder(samePriority, current), [...states]);
}

/** The maximum number of steps for which the walk tries every possible order. */
const maxOrderedSteps = 6;

/**
 * Runs steps with the same priority in every order, if the order matters. The results of a set of steps are computed
 * from smaller sets: each step in turn runs last, on the results of the other steps. Because the number of sets grows
 * exponentially, this is limited to a few steps.
 */
function inEveryOrder(steps: readonly HookStep[], states: readonly PacketState[]): PacketState[] {
  const [only] = steps;
  if (only && steps.length === 1) return runStep(only, states);
  const { commuting, ordered } = partitionCommuting(steps);
  const initial = commuting.reduce((current: readonly PacketState[], step) => runStep(step, current), states);
  if (ordered.length > maxOrderedSteps) return inUnknownOrder(ordered, initial);
  const statesBySubset = new Map<number, readonly PacketState[]>([[0, initial]]);
  for (let subset = 1; subset < 1 << ordered.length; subset++) {
    const reached = new PacketStates();
    for (const [index, step] of ordered.entries()) {
      const bit = 1 << index;
      if ((subset & bit) !== 0) reached.addAll(runStep(step, statesBySubset.get(subset & ~bit) ?? []));
    }
    statesBySubset.set(subset, reached.list);
  }
  return [...(statesBySubset.get((1 << ordered.length) - 1) ?? [])];
}

/** Runs each step any number of times, in any order. The results include the results of every possible order. */
function inUnknownOrder(steps: readonly HookStep[], states: readonly PacketState[]): PacketState[] {
  const reached = new PacketStates(states);
  let previousSize = 0;
  for (let round = 0; round < steps.length && previousSize !== reached.size; round++) {
    previousSize = reached.size;
    for (const step of steps) reached.addAll(runStep(step, reached.list));
  }
  return reached.list;
}

const runStep = ({ run }: HookStep, states: readonly PacketState[]): PacketState[] =>
  new PacketStates(states.flatMap(run)).list;

interface PartitionedSteps {
  /** Steps whose order does not matter. */
  readonly commuting: readonly HookStep[];
  readonly ordered: readonly HookStep[];
}

const controlFlow: readonly RuleTarget['kind'][] = ['accept', 'return', 'jump', 'goto'];

function partitionCommuting(steps: readonly HookStep[]): PartitionedSteps {
  const kinds = new Map(steps.map((step) => [step, targetKindsOf(step)]));
  const hasOtherKinds = (step: HookStep, ...known: readonly RuleTarget['kind'][]) =>
    [...(kinds.get(step) ?? [])].some((kind) => !known.includes(kind));
  // The order of drops does not matter as long as no step changes the fields that another step matches.
  const hasMutation = steps.some((step) => hasOtherKinds(step, ...controlFlow, 'drop'));
  const isOrderSensitive = (step: HookStep) => hasMutation && hasOtherKinds(step, ...controlFlow);
  return {
    commuting: steps.filter((step) => !isOrderSensitive(step)),
    ordered: steps.filter(isOrderSensitive),
  };
}

/** Returns the kinds of targets in a step's tables. */
function targetKindsOf({ baseChains }: HookStep): Set<RuleTarget['kind']> {
  const kinds = new Set(baseChains.flatMap(({ table }) => [...targetKindsOfTable(table)]));
  if (baseChains.some(({ policy }) => policy === 'drop')) kinds.add('drop');
  return kinds;
}

/** Cached, because an overview follows thousands of packets through the same tables. */
const targetKindsOfTable = memoizeByObject(({ chains }: Table): ReadonlySet<RuleTarget['kind']> => {
  const rules = [...chains.values()].flatMap((chain) => chain.rules);
  return new Set(rules.flatMap(({ targets }) => targets.map(({ kind }) => kind)));
});
