import type { Check, Connection } from './doctor/check';
import type { PeermasqError } from './model/errors';
import type { Node, NodeKey, NodeRef, RouteSourceKind, NetworkContext } from './model/node';
import type { Report } from './model/report';
import type { RuleSet } from './model/rule-set';

/** Milliseconds since the epoch after which the invocation has no time left. */
export type Deadline = number;

/** Where nodes are looked up. */
export interface NodeInventory<N extends Node = Node> {
  /** Those of `refs` that exist, in as few calls as the cloud allows. */
  get(refs: readonly NodeRef[], deadline: Deadline): Promise<N[]>;
  /** Every node that names one of these clusters; `'*'` stands for any cluster. */
  list(clusters: readonly string[], deadline: Deadline): Promise<N[]>;
}

/** Where networks, subnets and routes are looked up. */
export interface NetworkDiscovery<N extends Node = Node> {
  /**
   * One entry for each node whose network can be read; route data that nodes share is asked for once.
   */
  getNetworkContexts(
    nodes: readonly N[],
    kinds: readonly RouteSourceKind[],
    deadline: Deadline,
  ): Promise<ReadonlyMap<NodeKey, NetworkContext>>;
}

/** What nodes are to have in force. */
export interface PushRequest {
  readonly ruleSet: RuleSet;
  /** How many discovered routes it was made from: what a later look is compared with. */
  readonly routes: number;
  /** Nodes that were handed it before are to look at their rules all the same: somebody may have changed them. */
  readonly force?: boolean;
}

export type PushResult<N extends Node = Node> =
  /** `node` is what is handed on: a cloud may have noted on it what it wrote. `id` names the push to its channel. */
  | { readonly result: 'pushed'; readonly node: N; readonly ruleSet: RuleSet; readonly id: string }
  /** The node cannot take it yet: its agent is not online, it has not booted. */
  | {
      readonly result: 'not-ready';
      readonly node: N;
      readonly reason: string;
      readonly retryAfterSeconds: number;
    }
  | { readonly result: 'failed'; readonly node: N; readonly error: PeermasqError };

export type PushedNode<N extends Node = Node> = Extract<PushResult<N>, { result: 'pushed' }>;

/**
 * What a restart would do to a node that needs a reboot. It is `harmful` to one that goes on with an older rule set
 * that it has proven, or that is still becoming a node.
 */
export type RestartAdvice = 'advised' | 'unsafe' | 'already-tried';

export type ProofResult<N extends Node = Node> =
  /** The node's own words, whatever they say. */
  | { readonly result: 'reported'; readonly node: N; readonly report: Report }
  | {
      readonly result: 'no-report';
      readonly node: N;
      readonly reason: string;
      readonly retryAfterSeconds: number;
    }
  /** Nothing on the node takes what was pushed, until it boots again. */
  | {
      readonly result: 'no-watcher';
      readonly node: N;
      readonly reason: string;
      readonly restart: RestartAdvice;
    }
  | { readonly result: 'failed'; readonly node: N; readonly error: PeermasqError };

/** Why a node cannot take a push yet, and when to look again. */
export interface NotReady {
  readonly reason: string;
  readonly retryAfterSeconds: number;
}

/** How rule sets reach nodes, and how their reports come back. */
export interface Channel<N extends Node = Node> {
  /** As far as the node's description tells it: such a node is not worth a look at its routes. */
  checkReadiness(node: N): NotReady | undefined;
  /** One result for each node. Throws only for what concerns them all: no credentials, no permission. */
  push(request: PushRequest, nodes: readonly N[], deadline: Deadline): Promise<PushResult<N>[]>;
  /** Waits until every node has reported about the rule set it was pushed, or the deadline is near. */
  collectProofs(pushed: readonly PushedNode<N>[], deadline: Deadline): Promise<ProofResult<N>[]>;
  /**
   * Mirrors how pushes ended where the next look-up finds it.
   * @returns the nodes whose record could not be written, and why; their rules are in force all the same.
   */
  writeRecords(records: readonly PushRecord<N>[], deadline: Deadline): Promise<readonly RecordFailure<N>[]>;
  /** Boots a node again; resolves when the cloud has begun. Absent where pushes reach every running node. */
  restart?(node: N, deadline: Deadline): Promise<void>;
}

/** How a push to a node ended. */
export interface PushRecord<N extends Node = Node> {
  readonly node: N;
  /** Without it what is in force is what was in force before. */
  readonly ruleSetId?: string;
  readonly state: 'proven' | 'failed' | 'needs-reboot';
  readonly routes?: number;
}

export interface RecordFailure<N extends Node = Node> {
  readonly node: N;
  readonly error: PeermasqError;
}

/** What people ask of nodes, and no function does: it needs the permissions of whoever asks. */
export interface Inspection<N extends Node = Node> {
  /**
   * What the node has in force, as its own programs print it (shared/core/explain/parse/snapshot.ts reads it).
   * @param signal ends it early; what was asked of the node is taken back then too
   * @throws PeermasqError also where the node does not answer, with the command that shows the same by hand
   */
  takeSnapshot(node: N, deadline: Deadline, signal?: AbortSignal): Promise<string>;
  /**
   * The rule sets that nodes have in force according to the cloud's record, where the cloud still knows their
   * text. A node that has none, or whose text is gone, has no entry.
   */
  getRuleSetsInForce(nodes: readonly N[], deadline: Deadline): Promise<ReadonlyMap<NodeKey, RuleSet>>;
}

/** The cloud's checks of the network between a node and a destination, for `doctor` and `explain`. */
export interface Reach<N extends Node = Node> {
  /**
   * One check for each `CloudCheckName`, in their order.
   * A check whose data cannot be read is `unknown`, with the missing permission as its evidence.
   */
  checks(connection: Connection<N>, deadline: Deadline): Promise<readonly Check[]>;
}

/** One cloud. It is only ever given nodes that its own `nodes` returned, so `N` may carry what the cloud read of them. */
export interface Cloud<N extends Node = Node> {
  readonly nodes: NodeInventory<N>;
  readonly routes: NetworkDiscovery<N>;
  readonly channel: Channel<N>;
}

export interface Clock {
  now(): number;
}

export type LogEvent =
  | 'EventIgnored'
  | 'NodeJoined'
  | 'NodeSkipped'
  | 'NodePlanned'
  | 'NodePending'
  | 'NodeHeld'
  | 'RuleSetPushed'
  | 'NodeProven'
  | 'NodeFailed'
  | 'NodeTimedOut'
  | 'NodeNeedsReboot'
  | 'NodeRestarted'
  | 'PeeringChanged'
  | 'ClusterSwept'
  | 'SweepFinished'
  | 'ApiCallsCounted'
  | 'BackfillFailed'
  | 'RecordFailed'
  | 'ReconcileFailed'
  | 'LaunchCompleted'
  | 'LaunchCompletionFailed'
  | 'EventDeadLettered'
  | 'DeadLetterFailed'
  | 'RetryDelayFailed';

/** Structured: a fixed event name and its fields. */
export interface Log {
  info(event: LogEvent, fields: Record<string, unknown>): void;
  warn(event: LogEvent, fields: Record<string, unknown>): void;
  error(event: LogEvent, fields: Record<string, unknown>): void;
}
