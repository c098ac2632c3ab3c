import type { Cidr } from '../model/cidr';
import type { Node } from '../model/node';
import type { Deadline } from '../cloud';

/** The connection that is looked at: as it leaves the node, and as the peer sees it. */
export interface Connection {
  readonly node: Node;
  /** One-address ranges. */
  readonly source: Cidr;
  readonly destination: Cidr;
  readonly port: number;
}

/** What has to hold for a connection, in the order in which people look. */
export const checkNames = [
  'node',
  'peering',
  'forward-route',
  'return-route',
  'node-firewall',
  'peer-firewall',
  'masquerading',
  'proof',
] as const;
export type CheckName = (typeof checkNames)[number];

export interface Check {
  readonly name: CheckName;
  /** `unknown`: it cannot be seen from here, for a permission that is missing or an account of somebody else. */
  readonly state: 'ok' | 'broken' | 'unknown' | 'not-needed';
  /** What was read, and where: one sentence each, the one that decides first. */
  readonly evidence: readonly string[];
  /** The command that mends it, or that shows what could not be seen. */
  readonly fix?: string;
}

/** What the cloud itself says of the way between a node and a destination. */
export interface Reach {
  /**
   * One check for each of `peering`, `forward-route`, `return-route`, `node-firewall` and `peer-firewall`, in that
   * order. What may not be read is `unknown`, with the permission that is missing in the evidence.
   */
  checks(connection: Connection, deadline: Deadline): Promise<readonly Check[]>;
}

/** What the check of the peering says of a public destination that no network is known to have. */
export const publicAddressEvidence = (address: string): string =>
  `${address} is a public address: a gateway to the internet leads to it, and no peering.`;
