import type { GcpNodeRef } from '../../core/model/node';

export interface NodesJoined {
  readonly kind: 'nodes-joined';
  /** The API method, such as `instances.insert`. */
  readonly trigger: string;
  readonly nodes: readonly GcpNodeRef[];
  readonly at: Date;
}

/** The peerings, routes or ranges of a network in this project have changed. */
export interface RoutesChanged {
  readonly kind: 'routes-changed';
  readonly project: string;
  /** The API method, such as `networks.addPeering`. */
  readonly change: string;
  readonly at: Date;
}

export interface Ignored {
  readonly kind: 'ignored';
  readonly reason: string;
}

export type ParsedEvent = NodesJoined | RoutesChanged | Ignored;

export const ignored = (reason: string): Ignored => ({ kind: 'ignored', reason });

/** Quotes untrusted text and truncates it to one line, because reasons are logged and printed in terminals. */
export const quoted = (text: string): string => JSON.stringify(text.slice(0, 200));
