import { PermanentError } from '../../shared/core/errors';
import type { Node, NodeKey, Surroundings } from '../../shared/core/node';
import { nodeKey } from '../../shared/core/node';
import type { Cloud, Proof, Push } from '../../shared/core/ports';
import type { Report } from '../../shared/core/report';
import { reportOf } from '../lab/report';
import { ruleSetId, type RuleSet } from '../../shared/core/rule-set';

export interface FakeNode {
  node: Node;
  around: Surroundings;
  /** How the node program answers; `applied` unless told otherwise. */
  answer?: Partial<Report>;
  isReady: boolean;
  isSilent?: boolean;
  /** Nothing on it takes a push before it boots again; `serving` an older, proven rule set meanwhile. */
  unwatched?: 'idle' | 'serving' | 'in-vain';
  /** What it does when it is restarted, other than to come back. */
  onRestart?: 'stays-silent' | 'is-forbidden';
  inForce?: RuleSet;
}

/** A cloud of a few nodes in memory that keeps to the rules of the ports, and counts pushes. */
export class FakeCloud implements Cloud {
  readonly machines = new Map<NodeKey, FakeNode>();
  readonly pushed: { id: string; nodes: string[] }[] = [];

  /** Ids of nodes, in the order in which they were restarted. */
  readonly restarted: string[] = [];

  /** What every push ends with from now on. */
  pushFault?: Error;

  add(machine: FakeNode): void {
    this.machines.set(nodeKey(machine.node.ref), machine);
  }

  private of(node: Node): FakeNode {
    const machine = this.machines.get(nodeKey(node.ref));
    if (!machine) throw new Error(`no such node: ${nodeKey(node.ref)}`);
    return machine;
  }

  readonly nodes: Cloud['nodes'] = {
    get: (refs) =>
      Promise.resolve(refs.flatMap((ref) => this.machines.get(nodeKey(ref)) ?? []).map(({ node }) => node)),
    list: (clusters) =>
      Promise.resolve(
        [...this.machines.values()]
          .map(({ node }) => node)
          .filter((node) => clusters.includes('*') || node.clusters.some((name) => clusters.includes(name))),
      ),
  };

  readonly routes: { around: Cloud['routes']['around'] } = {
    around: (nodes) =>
      Promise.resolve(new Map(nodes.map((node) => [nodeKey(node.ref), this.of(node).around]))),
  };

  readonly channel: Cloud['channel'] = {
    notYet: () => undefined,
    push: ({ ruleSet }, nodes) => {
      if (this.pushFault) return Promise.reject(this.pushFault);
      this.pushed.push({ id: ruleSetId(ruleSet), nodes: nodes.map(({ ref }) => ref.id) });
      return Promise.resolve(nodes.map((node) => this.pushOne(ruleSet, node)));
    },
    proofs: (pushed) => Promise.resolve(pushed.map(({ node, ruleSet }) => this.proofOf(node, ruleSet))),
    remember: (ends) => {
      for (const { node, ruleSetId: id, state, routes } of ends) {
        const machine = this.of(node);
        const ruleSetId = id ?? machine.node.recorded?.ruleSetId;
        if (ruleSetId === undefined) continue;
        const recorded = { ruleSetId, isProven: state === 'proven', ...(routes !== undefined && { routes }) };
        machine.node = { ...machine.node, recorded };
      }
      return Promise.resolve([]);
    },
    restart: (node) => {
      const machine = this.of(node);
      if (machine.onRestart === 'is-forbidden')
        return Promise.reject(new PermanentError('permission-denied', 'no', 'Grant it.'));
      this.restarted.push(node.ref.id);
      delete machine.unwatched;
      if (machine.onRestart === 'stays-silent') machine.isSilent = true;
      return Promise.resolve();
    },
  };

  private pushOne(ruleSet: RuleSet, node: Node): Push {
    const machine = this.of(node);
    if (!machine.isReady)
      return { result: 'not-ready', node, reason: 'its agent is not online', retryAfterSeconds: 7 };
    const { recorded } = machine.node;
    if (recorded) machine.node = { ...machine.node, recorded: { ...recorded, isProven: false } };
    const isStale = (machine.inForce?.generation ?? 0) > ruleSet.generation;
    const isTaken = !machine.unwatched && machine.answer?.result === undefined;
    if (!isStale && isTaken) machine.inForce = ruleSet;
    return { result: 'pushed', node, ruleSet, id: 'push-1' };
  }

  private proofOf(node: Node, ruleSet: RuleSet): Proof {
    const machine = this.of(node);
    if (machine.unwatched) {
      const restart = ({ idle: 'helpful', serving: 'harmful', 'in-vain': 'was-in-vain' } as const)[
        machine.unwatched
      ];
      return { result: 'unwatched', node, reason: 'no watch', restart };
    }
    if (machine.isSilent) return { result: 'silent', node, reason: 'no report yet', retryAfterSeconds: 9 };
    const isStale = machine.inForce !== undefined && machine.inForce.generation > ruleSet.generation;
    const answer: Partial<Report> = isStale ? { result: 'refused', proven: false } : {};
    const report = reportOf(machine.inForce, { ...answer, ...machine.answer });
    return { result: 'reported', node, report };
  }
}
