import type { Decision } from '../masquerading/decision';
import type { Address } from '../model/cidr';
import type { PeermasqError } from '../model/errors';
import type { Explanation } from '../explain/explanation';
import type { Node, NetworkContext } from '../model/node';
import type { PortUse } from '../model/report';
import type { Outcome } from '../reconcile/outcome';
import type { Check } from './check';

/** Everything known about one connection. */
export interface Findings {
  readonly node: Node;
  /** Result of a dry run for the node. */
  readonly outcome: Outcome;
  readonly networkContext: NetworkContext;
  /** Absent if the connection starts on the node itself. */
  readonly pod?: Address;
  /** The destination on the command line. */
  readonly requested: { readonly address: Address; readonly port: number };
  /** The destination after the node's NAT rules, if they name exactly one: `reach` is about this one. */
  readonly destination: Address;
  /** Whether the connection needs masquerading. */
  readonly decision: Decision;
  /** What the node's rules do to the packet, or why they could not be read. */
  readonly rules: Explanation | PeermasqError;
  /** Source ports in use, as the node last reported them. */
  readonly ports?: readonly PortUse[];
  /** The checks of the cloud's network, in the order of `CloudCheckName`. */
  readonly reach: readonly Check[];
}

export interface Diagnosis {
  /** In the order of `CheckName`. */
  readonly checks: readonly Check[];
  readonly broken: Check | null;
  /** A one-line summary. */
  readonly verdict: string;
}
