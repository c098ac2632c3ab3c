import type { NodeRef } from './node';

/** What a cloud event means to us. An event that means nothing is a value, not an exception. */
export type NodeEvent =
  | { readonly kind: 'nodes-joined'; readonly nodes: readonly NodeRef[]; readonly at: Date }
  | { readonly kind: 'ignored'; readonly reason: string };

export function ignored(reason: string): NodeEvent {
  return { kind: 'ignored', reason };
}
