import { groupBy } from '../../util/collections';
import { memoizeByObject } from '../../util/functional';
import type { BaseChain, Family, Hook, Rule, RuleTarget, Table } from '../model';
import type { Snapshot } from '../snapshot';
import { ChainRunner, type RuleSelector } from './chains';
import type { Packet } from './packet';
import { changeState, initialState, PacketStates, type Mark, type PacketState } from './packet-state';
import { findPodDevice, findRoutes, type RouteResult } from './policy-routing';
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

class Walker {
  private readonly family: Family;
  /** The interface on which the packet arrives. Empty if the node itself sends the packet. */
  private readonly in: string | undefined;
  private readonly chains: ChainRunner;

  constructor(
    private readonly snapshot: Snapshot,
    private readonly packet: Packet,
    select: RuleSelector,
  ) {
    this.family = packet.destination.family;
    this.in = packet.isFromNode ? '' : (packet.in ?? findPodDevice(snapshot, packet.source));
    this.chains = new ChainRunner({ snapshot, packet, in: this.in, select });
  }

  run(): Trace {
    const { verdicts, evaluations } = this.chains;
    const start = initialState(this.packet);
    const routed = this.packet.isFromNode
      ? this.reroute(this.runHook('output', this.routeFromSocket(start)))
      : this.runHook('forward', this.routeAll(this.runHook('prerouting', [start])));
    for (const state of this.runHook('postrouting', routed)) {
      const { translation, isTracked, out, destination, destinationPort } = state;
      verdicts.push({ kind: 'egress', translation, isTracked, out, destination, destinationPort });
    }
    return { verdicts, evaluations: [...evaluations.values()] };
  }

  private routeFromSocket(start: PacketState): PacketState[] {
    return this.routesOf(start, start.packetMark).flatMap((result) =>
      result.kind === 'local' ? [changeState(start, { out: 'lo' })] : this.followRoute(start, result),
    );
  }

  private routeAll(states: readonly PacketState[]): PacketState[] {
    const routed = states.flatMap((state) =>
      this.routesOf(state, state.packetMark).flatMap((result) => this.followRoute(state, result)),
    );
    return new PacketStates(routed).list;
  }

  /**
   * Routes a packet of the node itself after OUTPUT. The kernel does that only if a rule changes the destination or, in
   * some chains, the mark, so that the route may also be the one without the new mark.
   */
  private reroute(states: readonly PacketState[]): PacketState[] {
    const { packetMark: oldMark } = initialState(this.packet);
    const routed = states.flatMap((state) => {
      const isMarked = state.packetMark.value !== oldMark.value || state.packetMark.known !== oldMark.known;
      const withOldMark = isMarked ? this.routesOf(state, oldMark) : [];
      const results = [...withOldMark, ...this.routesOf(state, state.packetMark)];
      return results.flatMap((result) => this.followRoute(state, result));
    });
    return new PacketStates(routed).list;
  }

  private routesOf({ destination, destinationPort }: PacketState, mark: Mark): RouteResult[] {
    const { snapshot, packet, in: incoming } = this;
    if (destination === undefined) return [{ kind: 'unknown', missing: 'the new destination' }];
    return findRoutes({ snapshot, packet, destination, destinationPort, mark, in: incoming });
  }

  /** Returns one state for each interface through which the kernel may send the packet. */
  private followRoute(state: PacketState, result: RouteResult): PacketState[] {
    const specified = state.isTranslated ? undefined : this.packet.out;
    switch (result.kind) {
      case 'local':
        this.chains.verdicts.push({ kind: 'local' });
        return [];
      case 'rejected':
        this.chains.drop(result.by, undefined);
        return [];
      case 'unknown': {
        const missingRoute = specified === undefined ? result.missing : undefined;
        return [changeState(state, { out: specified, nextHop: undefined, missingRoute })];
      }
      case 'forward': {
        const nextHops = result.nextHops.filter(
          ({ device }) => specified === undefined || device === specified,
        );
        if (nextHops.length === 0) return [changeState(state, { out: specified, nextHop: undefined })];
        return nextHops.map(({ device, via }) =>
          changeState(state, { out: device, nextHop: via ?? state.destination, missingRoute: undefined }),
        );
      }
    }
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
