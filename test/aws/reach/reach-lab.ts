import { makeReach } from '../../../shared/aws/reach/reach';
import { parseAddress } from '../../../shared/core/model/cidr';
import type { Check, CheckName } from '../../../shared/core/doctor/check';
import { definedOnly } from '../../../shared/core/util/collections';
import { labAccount, labRegion, type LocalAws } from '../../lab/aws/cloud';
import { addConnection, type LabConnection } from '../../lab/aws/connection';
import { soon, startCloud, subnetId, vpcId } from '../cloud';

export const peering = 'pcx-0123456789abcdef0';
export const peerAccount = '222222222222';

/** The two ends of the connection: the node's and the peer's. */
export const local = {
  vpcId,
  subnetId,
  table: 'rtb-0123456789abcdef0',
  group: 'sg-0123456789abcdef0',
  acl: 'acl-0123456789abcdef0',
  range: '172.20.0.0/16',
  ipv6Range: '2001:db8:1::/56',
  address: '172.20.0.9',
  ipv6Address: '2001:db8:1::9',
};
export const remote = {
  vpcId: 'vpc-0fedcba9876543210',
  subnetId: 'subnet-0fedcba9876543210',
  table: 'rtb-0fedcba9876543210',
  group: 'sg-0fedcba98765432101',
  acl: 'acl-0fedcba9876543210',
  range: '10.0.0.0/16',
  ipv6Range: '2001:db8:2::/56',
  address: '10.0.3.20',
  ipv6Address: '2001:db8:2::20',
};

export interface Endpoints {
  readonly source?: string;
  readonly destination?: string;
}

/** A node with a working connection, through a peering, to port 5432 of a database. */
export interface ReachLab {
  readonly aws: LocalAws;
  readonly connection: LabConnection;
  /** The node to check. A test may assign a different node. */
  nodeId: string;
  runChecks(endpoints?: Endpoints): Promise<readonly Check[]>;
  runCheck(name: CheckName, endpoints?: Endpoints): Promise<Check>;
  firstBroken(endpoints?: Endpoints): Promise<Check | undefined>;
  readonly close: () => Promise<void>;
}

/**
 * Opens a lab.
 * @param peer if set, the peer is in a separate account, for which the checks have no credentials
 */
export async function openReachLab({ peer }: { readonly peer?: 'other-account' } = {}): Promise<ReachLab> {
  const { aws, clients, cloud, close } = await startCloud();
  const account = peer && aws.addAccount(peerAccount, { roleName: 'peer' });
  const connection = addConnection(aws, {
    peeringId: peering,
    node: local,
    peer: definedOnly({ ...remote, port: 5432, account }),
  });
  const { address, ipv6Address } = local;
  const lab: ReachLab = {
    aws,
    connection,
    nodeId: aws.addNode({ subnetId, address, ipv6Address }),
    close,
    async runChecks({ source = local.address, destination = remote.address } = {}) {
      const ref = { cloud: 'aws', account: labAccount, region: labRegion, id: lab.nodeId } as const;
      const [node] = await cloud.nodes.get([ref], soon());
      if (!node) throw new Error('The lab has no such node');
      const addresses = { source: parseAddress(source), destination: parseAddress(destination) };
      return makeReach(clients).checks({ node, ...addresses, port: 5432 }, soon());
    },
    async runCheck(name, endpoints) {
      const check = (await lab.runChecks(endpoints)).find((one) => one.name === name);
      if (!check) throw new Error(`There is no check ${name}`);
      return check;
    },
    async firstBroken(endpoints) {
      return (await lab.runChecks(endpoints)).find(({ state }) => state === 'broken');
    },
  };
  return lab;
}

export const statesOf = (checks: readonly Check[]) =>
  Object.fromEntries(checks.map(({ name, state }) => [name, state]));

export const allOk = {
  peering: 'ok',
  'forward-route': 'ok',
  'return-route': 'ok',
  'node-firewall': 'ok',
  'peer-firewall': 'ok',
};
