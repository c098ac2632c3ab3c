import type { Check, Connection } from './doctor/check';
import type { PeermasqError } from './model/errors';
import type { Node, NodeKey, NodeRef, RouteSourceKind, NetworkContext } from './model/node';
import type { PushState } from './model/recorded-state';
import type { Report } from './model/report';
import type { RuleSet } from './model/rule-set';

/**
 * One cloud, as the core uses it. The core passes a cloud only nodes that came from its own `nodes`, so `N` can carry
 * data that the cloud needs later.
 */
export interface Cloud<N extends Node = Node> {
  readonly nodes: NodeInventory<N>;
  readonly routes: NetworkDiscovery<N>;
  readonly channel: Channel<N>;
}

/** The end of the current invocation, in milliseconds since the epoch. */
export type Deadline = number;

/** Finds nodes. */
export interface NodeInventory<N extends Node = Node> {
  /** Returns those of the nodes that exist, with as few API calls as the cloud allows. */
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
   * Returns undefined if the node can accept a push, as far as its description shows. Nodes that cannot need no
   * discovery.
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
  /** Reboots a node, and resolves when the reboot has started. Absent if a push takes effect on every running node. */
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
   * The number of discovered routes from which the rule set was computed. It is recorded so that a later loss of
   * routes is detected.
   */
  readonly routes: number;
  /** Whether nodes that already have the rule set apply it again, in case their rules were changed. */
  readonly force?: boolean;
}

export type PushResult<N extends Node = Node> =
  /**
   * `node` replaces the node that was passed in, because it may contain values that the push wrote. `id` is the
   * channel's ID for the push.
   */
  | { readonly result: 'pushed'; readonly node: N; readonly ruleSet: RuleSet; readonly id: string }
  /** The node cannot accept a push yet, because its agent is not online or it has not booted. */
  | ({ readonly result: 'not-ready'; readonly node: N } & NotReady)
  | { readonly result: 'failed'; readonly node: N; readonly error: PeermasqError };

export type PushedNode<N extends Node = Node> = Extract<PushResult<N>, { result: 'pushed' }>;

export type ProofResult<N extends Node = Node> =
  /** The node has reported, whether or not the rule set is proven. */
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
 * Whether to restart a node that needs a reboot. `unsafe` means that an older rule set is in force and proven, or
 * that the node is still joining.
 */
export type RestartAdvice = 'advised' | 'unsafe' | 'already-tried';

/** The result of a push. */
export interface PushRecord<N extends Node = Node> {
  readonly node: N;
  /** The rule set that is now in force. Absent if the push did not change it. */
  readonly ruleSetId?: string;
  readonly state: PushState;
  readonly routes?: number;
}

export interface RecordFailure<N extends Node = Node> {
  readonly node: N;
  readonly error: PeermasqError;
}

/** Operations that only operators use, with their own permissions. The functions do not use them. */
export interface Inspection<N extends Node = Node> {
  /**
   * Returns the rules in force on a node, as the node's own programs print them (parsed in
   * explain/parse/snapshot.ts).
   * @param signal cancels the snapshot and withdraws the request from the node
   * @throws PeermasqError also if the node does not respond; the advice then contains a command that takes the
   * snapshot manually
   */
  takeSnapshot(node: N, deadline: Deadline, signal?: AbortSignal): Promise<string>;
  /**
   * Returns the rule sets that the cloud records as in force. There is no entry for a node without a rule set, or if
   * the cloud no longer stores the text of the rule set.
   */
  getRuleSetsInForce(nodes: readonly N[], deadline: Deadline): Promise<ReadonlyMap<NodeKey, RuleSet>>;
}

/** The cloud's network checks between a node and a destination, for `doctor` and `explain`. */
export interface Reach<N extends Node = Node> {
  /**
   * Returns one check each for `peering`, `forward-route`, `return-route`, `node-firewall` and `peer-firewall`, in
   * that order. A check whose data cannot be read is `unknown`, with the missing permission as its evidence.
   */
  checks(connection: Connection<N>, deadline: Deadline): Promise<readonly Check[]>;
}
