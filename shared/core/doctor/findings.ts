import type { Decision } from '../masquerading/decision';
import type { Address } from '../model/cidr';
import type { PeermasqError } from '../model/errors';
import type { Explanation } from '../explain/explanation';
import type { Node, NetworkContext } from '../model/node';
import type { PortUse } from '../model/report';
import type { Outcome } from '../reconcile/outcome';
import type { Check } from './check';

/** Everything that is known about one connection. */
export interface Findings {
  readonly node: Node;
  /** The result of a dry run for the node. */
  readonly outcome: Outcome;
  readonly networkContext: NetworkContext;
  /** The pod's address. Absent if the connection starts on the node itself. */
  readonly pod?: Address;
  /** The destination that was given on the command line. */
  readonly requested: { readonly address: Address; readonly port: number };
  /**
   * The destination after the node's NAT rules, if there is exactly one; otherwise the requested destination. `reach`
   * contains the checks for this destination.
   */
  readonly destination: Address;
  /** Whether the connection needs masquerading. */
  readonly decision: Decision;
  /** What the node's rules do to the packet, or the error if they could not be read. */
  readonly rules: Explanation | PeermasqError;
  /** The source ports in use, from the node's last report. */
  readonly ports?: readonly PortUse[];
  /** The results of the cloud's network checks, in the order of `CloudCheckName`. */
  readonly reach: readonly Check[];
}

export interface Diagnosis {
  /** All checks, in the order of `CheckName`. */
  readonly checks: readonly Check[];
  readonly broken: Check | null;
  /** A one-line summary. */
  readonly verdict: string;
}
