import type { Check, Connection } from './doctor/check';
import type { PeermasqError } from './model/errors';
import type { Node, NodeKey, NodeRef, RouteSourceKind, NetworkContext } from './model/node';
import type { PushState, RecordedFailure } from './model/recorded-state';
import type { Report } from './model/report';
import type { RuleSet } from './model/rule-set';

/**
 * The interface between the core and a cloud. The core passes only nodes that the same cloud returned, so `N` can carry
 * data that the cloud needs later.
 */
export interface Cloud<N extends Node = Node> {
  readonly nodes: NodeInventory<N>;
  readonly routes: NetworkDiscovery<N>;
  readonly channel: Channel<N>;
}

/** When the current invocation ends, in milliseconds since the epoch. */
export type Deadline = number;

/** Finds nodes. */
export interface NodeInventory<N extends Node = Node> {
  /** Returns the nodes that exist, with as few API calls as possible. */
  get(refs: readonly NodeRef[], deadline: Deadline): Promise<N[]>;
  /** Returns every node of these clusters; `'*'` means every cluster. */
  list(clusters: readonly string[], deadline: Deadline): Promise<N[]>;
}

/** Discovers the networks and routes of nodes. */
export interface NetworkDiscovery<N extends Node = Node> {
  /** Returns an entry for each node whose network can be read. Data that several nodes share is read once. */
  getNetworkContexts(
    nodes: readonly N[],
    kinds: readonly RouteSourceKind[],
    deadline: Deadline,
  ): Promise<ReadonlyMap<NodeKey, NetworkContext>>;
}

/** Delivers rule sets to nodes, and returns the nodes' reports. */
export interface Channel<N extends Node = Node> {
  /**
   * Returns why the node cannot accept a push yet, or undefined if nothing in its description prevents a push. The
   * check comes before discovery, which is skipped for such nodes.
   */
  checkReadiness(node: N): NotReady | undefined;
  /**
   * Returns one result for each node. Throws only for errors that affect all nodes, such as missing credentials or
   * permissions.
   */
  push(request: PushRequest, nodes: readonly N[], deadline: Deadline): Promise<PushResult<N>[]>;
  /** Waits until every node has reported on its push, or until shortly before the deadline. */
  collectProofs(pushed: readonly PushedNode<N>[], deadline: Deadline): Promise<ProofResult<N>[]>;
  /**
   * Records the results of pushes in the cloud, for the next discovery.
   * @returns the nodes whose records could not be written; the rules on those nodes are not affected
   */
  writeRecords(records: readonly PushRecord<N>[], deadline: Deadline): Promise<readonly RecordFailure<N>[]>;
  /** Reboots a node, and resolves when the reboot has started. Absent if no node needs a reboot to apply a push. */
  restart?(node: N, deadline: Deadline): Promise<void>;
}

/** Why a node cannot accept a push yet, and when to retry. */
export interface NotReady {
  readonly reason: string;
  readonly retryAfterSeconds: number;
}

/** The rule set to push. */
export interface PushRequest {
  readonly ruleSet: RuleSet;
  /**
   * The number of discovered routes from which the rule set was computed. It is recorded so that a later loss of routes
   * can be detected.
   */
  readonly routes: number;
  /** Whether nodes that already have the rule set reapply it, in case their rules were changed. */
  readonly force?: boolean;
}

export type PushResult<N extends Node = Node> =
  /**
   * `node` replaces the node that was passed to the push, because it may contain values that the push wrote. `id` is
   * the channel's ID for the push.
   */
  | { readonly result: 'pushed'; readonly node: N; readonly ruleSet: RuleSet; readonly id: string }
  /** The node cannot accept a push yet, because it has not booted or its agent is not online. */
  | ({ readonly result: 'not-ready'; readonly node: N } & NotReady)
  | { readonly result: 'failed'; readonly node: N; readonly error: PeermasqError };

export type PushedNode<N extends Node = Node> = Extract<PushResult<N>, { result: 'pushed' }>;

export type ProofResult<N extends Node = Node> =
  /** The node has reported. Its report may or may not prove the rule set. */
  | { readonly result: 'reported'; readonly node: N; readonly report: Report }
  | ({ readonly result: 'no-report'; readonly node: N } & NotReady)
  /** No watcher runs on the node, so the node applies the rule set when it next boots. */
  | {
      readonly result: 'no-watcher';
      readonly node: N;
      readonly reason: string;
      readonly restart: RestartAdvice;
    }
  | { readonly result: 'failed'; readonly node: N; readonly error: PeermasqError };

/**
 * Whether to restart a node that needs a reboot. `unsafe` means that the previous rule set is still in force and
 * proven, or that the node is still joining.
 */
export type RestartAdvice = 'advised' | 'unsafe' | 'already-tried';

/** The result of a push. */
export interface PushRecord<N extends Node = Node> {
  readonly node: N;
  /** The rule set that is now in force. Absent if the push did not change it. */
  readonly ruleSetId?: string;
  readonly state: PushState;
  readonly code?: RecordedFailure;
  readonly routes?: number;
}

export interface RecordFailure<N extends Node = Node> {
  readonly node: N;
  readonly error: PeermasqError;
}

/** Operations that only operators use, with their own permissions. The functions never perform these operations. */
export interface Inspection<N extends Node = Node> {
  /**
   * Returns the rules in force on a node, as printed by the programs on the node (parsed in explain/parse/snapshot.ts).
   * @param signal cancels the snapshot and withdraws the request from the node
   * @throws PeermasqError also if the node does not respond; the advice then contains a command that takes the snapshot
   * manually
   */
  takeSnapshot(node: N, deadline: Deadline, signal?: AbortSignal): Promise<string>;
  /**
   * Returns the rule sets that are recorded in the cloud as in force. There is no entry for a node
   * without a rule set, or for one whose rule set is no longer stored as text in the cloud.
   */
  getRuleSetsInForce(nodes: readonly N[], deadline: Deadline): Promise<ReadonlyMap<NodeKey, RuleSet>>;
}

/** Checks of the cloud network between a node and a destination, for `doctor` and `explain`. */
export interface Reach<N extends Node = Node> {
  /**
   * Returns the checks `peering`, `forward-route`, `return-route`, `node-firewall` and `peer-firewall`, in that order.
   * If the data for a check cannot be read, the check is `unknown`, and its evidence names the missing permission.
   */
  checks(connection: Connection<N>, deadline: Deadline): Promise<readonly Check[]>;
}
