import type { PeermasqError } from './errors';
import type { Node, NodeKey, NodeRef, RouteSourceKind, Surroundings } from './node';
import type { Report } from './report';
import type { RuleSet } from './rule-set';

/** Milliseconds since the epoch after which the invocation has no time left. */
export type Deadline = number;

/** Where nodes are looked up. */
export interface Nodes {
  /** Those of `refs` that exist, in as few calls as the cloud allows. */
  get(refs: readonly NodeRef[], deadline: Deadline): Promise<Node[]>;
  /** Every node that names one of these clusters; `'*'` stands for any cluster. */
  list(clusters: readonly string[], deadline: Deadline): Promise<Node[]>;
}

/** Where networks, subnets and routes are looked up. */
export interface Routes {
  /**
   * One entry for each node whose network can be read; route data that nodes share is asked for once.
   */
  around(
    nodes: readonly Node[],
    kinds: readonly RouteSourceKind[],
    deadline: Deadline,
  ): Promise<ReadonlyMap<NodeKey, Surroundings>>;
}

/** What nodes are to have in force. */
export interface Order {
  readonly ruleSet: RuleSet;
  /** How many discovered routes it was made from: what a later look is compared with. */
  readonly routes: number;
  /** Nodes that were handed it before are to look at their rules all the same: somebody may have changed them. */
  readonly isAgain?: boolean;
}

export type Push =
  | { readonly result: 'pushed'; readonly node: Node; readonly ruleSet: RuleSet; readonly id: string }
  /** The node cannot take it yet: its agent is not online, it has not booted. */
  | {
      readonly result: 'not-ready';
      readonly node: Node;
      readonly reason: string;
      readonly retryAfterSeconds: number;
    }
  | { readonly result: 'failed'; readonly node: Node; readonly error: PeermasqError };

export type Pushed = Extract<Push, { result: 'pushed' }>;

/**
 * What a restart would do to a node that needs a reboot. It is `harmful` to one that goes on with an older rule set
 * that it has proven, or that is still becoming a node.
 */
export type Restart = 'helpful' | 'harmful' | 'was-in-vain';

export type Proof =
  /** The node's own words, whatever they say. */
  | { readonly result: 'reported'; readonly node: Node; readonly report: Report }
  | {
      readonly result: 'silent';
      readonly node: Node;
      readonly reason: string;
      readonly retryAfterSeconds: number;
    }
  /** Nothing on the node takes what was pushed, until it boots again. */
  | {
      readonly result: 'unwatched';
      readonly node: Node;
      readonly reason: string;
      readonly restart: Restart;
    }
  | { readonly result: 'failed'; readonly node: Node; readonly error: PeermasqError };

/** Why a node cannot take a push yet, and when to look again. */
export interface NotYet {
  readonly reason: string;
  readonly retryAfterSeconds: number;
}

/** How rule sets reach nodes, and how their reports come back. */
export interface Channel {
  /** As far as the node's description tells it: such a node is not worth a look at its routes. */
  notYet(node: Node): NotYet | undefined;
  /** One result for each node. Throws only for what concerns them all: no credentials, no permission. */
  push(order: Order, nodes: readonly Node[], deadline: Deadline): Promise<Push[]>;
  /** Waits until every node has reported about the rule set it was pushed, or the deadline is near. */
  proofs(pushed: readonly Pushed[], deadline: Deadline): Promise<Proof[]>;
  /**
   * Mirrors how pushes ended where the next look-up finds it.
   * @returns the nodes whose record could not be written, and why; their rules are in force all the same.
   */
  remember(ends: readonly End[], deadline: Deadline): Promise<readonly Unrecorded[]>;
  /** Boots a node again; resolves when the cloud has begun. Absent where pushes reach every running node. */
  restart?(node: Node, deadline: Deadline): Promise<void>;
}

/** How a push to a node ended. */
export interface End {
  readonly node: Node;
  /** Without it what is in force is what was in force before. */
  readonly ruleSetId?: string;
  readonly state: 'proven' | 'failed' | 'needs-reboot';
  readonly routes?: number;
}

export interface Unrecorded {
  readonly node: Node;
  readonly error: PeermasqError;
}

/** What people ask of nodes, and no function does: it needs the permissions of whoever asks. */
export interface Inspection {
  /**
   * What the node has in force, as its own programs print it (shared/core/explain/snapshot.ts reads it).
   * @param signal ends it early; what was asked of the node is taken back then too
   * @throws PeermasqError also where the node does not answer, with the command that shows the same by hand
   */
  look(node: Node, deadline: Deadline, signal?: AbortSignal): Promise<string>;
  /**
   * The rule sets that nodes have in force according to the cloud's record, where the cloud still knows their
   * text. A node that has none, or whose text is gone, has no entry.
   */
  inForce(nodes: readonly Node[], deadline: Deadline): Promise<ReadonlyMap<NodeKey, RuleSet>>;
}

export interface Cloud {
  readonly nodes: Nodes;
  readonly routes: Routes;
  readonly channel: Channel;
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
  | 'NodeGaveUp'
  | 'NodeNeedsReboot'
  | 'NodeRestarted'
  | 'PeeringChanged'
  | 'ClusterSwept'
  | 'SweepFinished'
  | 'CallsCounted'
  | 'BackfillFailed'
  | 'RecordFailed'
  | 'ReconcileFailed'
  | 'LaunchCompleted'
  | 'LaunchNotCompleted'
  | 'EventBuried'
  | 'BuryFailed'
  | 'PostponeFailed';

/** Structured: a fixed event name and its fields. */
export interface Log {
  info(event: LogEvent, fields: Record<string, unknown>): void;
  warn(event: LogEvent, fields: Record<string, unknown>): void;
  error(event: LogEvent, fields: Record<string, unknown>): void;
}
