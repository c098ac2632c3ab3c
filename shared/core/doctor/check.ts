import type { Address } from '../model/cidr';
import type { Node } from '../model/node';

/** The connection under test, with its packet as it leaves the node and as the peer receives it. */
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
  /** What was found and where, in one sentence each. The decisive sentence comes first. */
  readonly evidence: readonly string[];
  /** The command that fixes a broken check, or that shows the data that an unknown check could not read. */
  readonly fix?: string;
}

export type CheckResult = Omit<Check, 'name'>;
