import type { Address } from '../model/cidr';
import type { Node } from '../model/node';

/**
 * The connection to check. The addresses and the port are those of the packet between the node and the peer, after the
 * node's NAT.
 */
export interface Connection<N extends Node = Node> {
  readonly node: N;
  readonly source: Address;
  readonly destination: Address;
  readonly port: number;
}

/** Check names in the order in which checks are reported. The first broken check is the diagnosis. */
export type CheckName = 'node' | CloudCheckName | 'masquerading' | 'proof';

export type CloudCheckName = 'peering' | 'forward-route' | 'return-route' | 'node-firewall' | 'peer-firewall';

export interface Check {
  readonly name: CheckName;
  /**
   * `unknown` means that the check was not possible, because a permission is missing or another account owns the
   * resource.
   */
  readonly state: 'ok' | 'broken' | 'unknown' | 'not-needed';
  /** The findings, one sentence each. The decisive sentence comes first. */
  readonly evidence: readonly string[];
  /**
   * A command that fixes the problem if the check is broken, or that prints the data that could not be read if it is
   * unknown.
   */
  readonly fix?: string;
}

export type CheckResult = Omit<Check, 'name'>;
