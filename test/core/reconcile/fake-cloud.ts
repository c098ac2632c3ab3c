import { definedOnly } from '../../../shared/core/util/collections';
import { PermanentError } from '../../../shared/core/model/errors';
import type { Node, NodeKey, NetworkContext } from '../../../shared/core/model/node';
import { nodeKey } from '../../../shared/core/model/node';
import type { Cloud, ProofResult, PushResult } from '../../../shared/core/cloud';
import type { Report } from '../../../shared/core/model/report';
import { makeReport } from '../../lab/node-report';
import { ruleSetId, type RuleSet } from '../../../shared/core/model/rule-set';

export interface FakeNode {
  node: Node;
  networkContext: NetworkContext;
  /** Overrides fields of the node's report. By default, the report says that the rule set is applied. */
  answer?: Partial<Report>;
  isReady: boolean;
  isSilent?: boolean;
  /**
   * No watcher runs on the node, so pushes have no effect. With `serving`, a rule set that was proven earlier is in
   * force.
   */
  withoutWatcher?: 'idle' | 'serving' | 'already-tried';
  /** What happens when the node is restarted. By default, the node comes back. */
  onRestart?: 'never-reports' | 'permission-denied';
  inForce?: RuleSet;
}

/** A cloud in memory. It implements the contract of `Cloud` and counts pushes. */
export class FakeCloud implements Cloud {
  readonly machines = new Map<NodeKey, FakeNode>();
  readonly pushed: { id: string; nodes: string[] }[] = [];

  /** The IDs of restarted nodes, in the order of the restarts. */
  readonly restarted: string[] = [];

  /** If set, every push throws this error. */
  pushError?: Error;

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

  readonly routes: { getNetworkContexts: Cloud['routes']['getNetworkContexts'] } = {
    getNetworkContexts: (nodes) =>
      Promise.resolve(new Map(nodes.map((node) => [nodeKey(node.ref), this.of(node).networkContext]))),
  };

  readonly channel: Cloud['channel'] = {
    checkReadiness: () => undefined,
    push: ({ ruleSet }, nodes) => {
      if (this.pushError) return Promise.reject(this.pushError);
      this.pushed.push({ id: ruleSetId(ruleSet), nodes: nodes.map(({ ref }) => ref.id) });
      return Promise.resolve(nodes.map((node) => this.pushOne(ruleSet, node)));
    },
    collectProofs: (pushed) =>
      Promise.resolve(pushed.map(({ node, ruleSet }) => this.proofOf(node, ruleSet))),
    writeRecords: (records) => {
      for (const { node, ruleSetId: id, state, routes } of records) {
        const machine = this.of(node);
        const ruleSetId = id ?? machine.node.recorded?.ruleSetId;
        if (ruleSetId === undefined) continue;
        const recorded = definedOnly({ ruleSetId, isProven: state === 'proven', routes });
        machine.node = { ...machine.node, recorded };
      }
      return Promise.resolve([]);
    },
    restart: (node) => {
      const machine = this.of(node);
      if (machine.onRestart === 'permission-denied')
        return Promise.reject(new PermanentError('permission-denied', 'no', { advice: 'Grant it.' }));
      this.restarted.push(node.ref.id);
      delete machine.withoutWatcher;
      if (machine.onRestart === 'never-reports') machine.isSilent = true;
      return Promise.resolve();
    },
  };

  private pushOne(ruleSet: RuleSet, node: Node): PushResult {
    const machine = this.of(node);
    if (!machine.isReady)
      return { result: 'not-ready', node, reason: 'its agent is not online', retryAfterSeconds: 7 };
    const { recorded } = machine.node;
    if (recorded) machine.node = { ...machine.node, recorded: { ...recorded, isProven: false } };
    const isStale = (machine.inForce?.generation ?? 0) > ruleSet.generation;
    const isTaken = !machine.withoutWatcher && machine.answer?.result === undefined;
    if (!isStale && isTaken) machine.inForce = ruleSet;
    return { result: 'pushed', node, ruleSet, id: 'push-1' };
  }

  private proofOf(node: Node, ruleSet: RuleSet): ProofResult {
    const machine = this.of(node);
    if (machine.withoutWatcher) {
      const restart = ({ idle: 'advised', serving: 'unsafe', 'already-tried': 'already-tried' } as const)[
        machine.withoutWatcher
      ];
      return { result: 'no-watcher', node, reason: 'no watcher', restart };
    }
    if (machine.isSilent) return { result: 'no-report', node, reason: 'no report yet', retryAfterSeconds: 9 };
    const isStale = machine.inForce !== undefined && machine.inForce.generation > ruleSet.generation;
    const answer: Partial<Report> = isStale ? { result: 'refused', proven: false } : {};
    const report = makeReport(machine.inForce, { ...answer, ...machine.answer });
    return { result: 'reported', node, report };
  }
}
