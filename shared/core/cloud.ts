import type { Check, Connection } from './doctor/check';
import type { PeermasqError } from './model/errors';
import type { Node, NodeKey, NodeRef, RouteSourceKind, NetworkContext } from './model/node';
import type { PushState } from './model/recorded-state';
import type { Report } from './model/report';
import type { RuleSet } from './model/rule-set';

/**
 * One cloud, as the core sees it. It receives only nodes that its own `nodes` returned, so `N` can carry what the cloud
 * needs of a node later.
 */
export interface Cloud<N extends Node = Node> {
  readonly nodes: NodeInventory<N>;
  readonly routes: NetworkDiscovery<N>;
  readonly channel: Channel<N>;
}

/** The end of the invocation, in milliseconds since the epoch. */
export type Deadline = number;

/** Finds nodes. */
export interface NodeInventory<N extends Node = Node> {
  /** The nodes that exist, in as few calls as the cloud allows. */
  get(refs: readonly NodeRef[], deadline: Deadline): Promise<N[]>;
  /** Every node of these clusters; `'*'` means any cluster. */
  list(clusters: readonly string[], deadline: Deadline): Promise<N[]>;
}

/** Finds the networks and routes of nodes. */
export interface NetworkDiscovery<N extends Node = Node> {
  /** An entry for each node whose network can be read. Data that nodes share is read once. */
  getNetworkContexts(
    nodes: readonly N[],
    kinds: readonly RouteSourceKind[],
    deadline: Deadline,
  ): Promise<ReadonlyMap<NodeKey, NetworkContext>>;
}

/** Delivers rule sets to nodes and their reports back. */
export interface Channel<N extends Node = Node> {
  /** Undefined for a node that can take a push, as far as its description shows. Others need no discovery. */
  checkReadiness(node: N): NotReady | undefined;
  /** One result for each node. Throws only what affects all of them: no credentials, no permission. */
  push(request: PushRequest, nodes: readonly N[], deadline: Deadline): Promise<PushResult<N>[]>;
  /** Waits until every node has reported on its push, or until shortly before the deadline. */
  collectProofs(pushed: readonly PushedNode<N>[], deadline: Deadline): Promise<ProofResult<N>[]>;
  /**
   * Records in the cloud how pushes ended, for the next discovery.
   * @returns the nodes whose record could not be written; the rules on the node are not affected
   */
  writeRecords(records: readonly PushRecord<N>[], deadline: Deadline): Promise<readonly RecordFailure<N>[]>;
  /** Reboots a node; resolves when the reboot has started. Absent if a push reaches every running node. */
  restart?(node: N, deadline: Deadline): Promise<void>;
}

/** Why a node cannot take a push yet, and when to retry. */
export interface NotReady {
  readonly reason: string;
  readonly retryAfterSeconds: number;
}

/** The rule set to push. */
export interface PushRequest {
  readonly ruleSet: RuleSet;
  /** Number of discovered routes it was computed from. Recorded to detect a later loss of routes. */
  readonly routes: number;
  /** Nodes that already have it apply it again, in case their rules were changed. */
  readonly force?: boolean;
}

export type PushResult<N extends Node = Node> =
  /** `node` may carry what the push wrote: pass it on instead of the original. `id` is the channel's ID of the push. */
  | { readonly result: 'pushed'; readonly node: N; readonly ruleSet: RuleSet; readonly id: string }
  /** The node cannot take it yet: its agent is not online, or it has not booted. */
  | ({ readonly result: 'not-ready'; readonly node: N } & NotReady)
  | { readonly result: 'failed'; readonly node: N; readonly error: PeermasqError };

export type PushedNode<N extends Node = Node> = Extract<PushResult<N>, { result: 'pushed' }>;

export type ProofResult<N extends Node = Node> =
  /** The node's report, proven or not. */
  | { readonly result: 'reported'; readonly node: N; readonly report: Report }
  | ({ readonly result: 'no-report'; readonly node: N } & NotReady)
  /** No watcher runs on the node; it applies the rule set at its next boot. */
  | {
      readonly result: 'no-watcher';
      readonly node: N;
      readonly reason: string;
      readonly restart: RestartAdvice;
    }
  | { readonly result: 'failed'; readonly node: N; readonly error: PeermasqError };

/**
 * Whether to restart a node that needs a reboot. `unsafe`: an older rule set is in force and proven, or the node is
 * still joining.
 */
export type RestartAdvice = 'advised' | 'unsafe' | 'already-tried';

/** How a push ended. */
export interface PushRecord<N extends Node = Node> {
  readonly node: N;
  /** The rule set in force now. If absent, it has not changed. */
  readonly ruleSetId?: string;
  readonly state: PushState;
  readonly routes?: number;
}

export interface RecordFailure<N extends Node = Node> {
  readonly node: N;
  readonly error: PeermasqError;
}

/** What only people do with nodes, with their own permissions. The functions do not use it. */
export interface Inspection<N extends Node = Node> {
  /**
   * The rules in force on a node, as its own programs print them (parsed in explain/parse/snapshot.ts).
   * @param signal cancels it and withdraws the request from the node
   * @throws PeermasqError also if the node does not respond, with a command that does the same by hand
   */
  takeSnapshot(node: N, deadline: Deadline, signal?: AbortSignal): Promise<string>;
  /**
   * The rule sets in force according to the cloud. There is no entry for a node without a rule set, or if the cloud no
   * longer has its text.
   */
  getRuleSetsInForce(nodes: readonly N[], deadline: Deadline): Promise<ReadonlyMap<NodeKey, RuleSet>>;
}

/** The cloud's checks of the network between a node and a destination, for `doctor` and `explain`. */
export interface Reach<N extends Node = Node> {
  /**
   * One check each for `peering`, `forward-route`, `return-route`, `node-firewall` and `peer-firewall`, in that order.
   * A check whose data cannot be read is `unknown`, with the missing permission as its evidence.
   */
  checks(connection: Connection<N>, deadline: Deadline): Promise<readonly Check[]>;
}
