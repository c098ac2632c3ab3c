import type { GcpNodeRef } from '../../core/model/node';

export interface NodesJoined {
  readonly kind: 'nodes-joined';
  /** The API method: `instances.insert`. */
  readonly trigger: string;
  readonly nodes: readonly GcpNodeRef[];
  readonly at: Date;
}

/** Peerings, routes or ranges of a network in this project changed. */
export interface RoutesChanged {
  readonly kind: 'routes-changed';
  readonly project: string;
  /** The API method: `networks.addPeering`. */
  readonly change: string;
  readonly at: Date;
}

export interface Ignored {
  readonly kind: 'ignored';
  readonly reason: string;
}

export type ParsedEvent = NodesJoined | RoutesChanged | Ignored;

export const ignored = (reason: string): Ignored => ({ kind: 'ignored', reason });

/** Reasons are logged and printed in terminals: untrusted text is quoted, on one line, and short. */
export const quoted = (text: string): string => JSON.stringify(text.slice(0, 200));
