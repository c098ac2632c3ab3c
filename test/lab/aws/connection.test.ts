import {
  DescribeNetworkAclsCommand,
  DescribeNetworkInterfacesCommand,
  DescribeSecurityGroupsCommand,
  DescribeSubnetsCommand,
  DescribeVpcPeeringConnectionsCommand,
} from '@aws-sdk/client-ec2';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { makeClients, type Clients } from '../../../shared/aws/client/clients';
import { labRegion, startLocalAws, type LocalAws } from './cloud';
import { errorCodeOf } from './errors';
import { addConnection, type LabConnection } from './connection';

const [vpcId, subnetId] = ['vpc-0123456789abcdef0', 'subnet-0123456789abcdef0'];
const peer = { vpcId: 'vpc-0fedcba9876543210', subnetId: 'subnet-0fedcba9876543210' };

let aws: LocalAws;
let clients: Clients;
let connection: LabConnection;

beforeEach(async () => {
  aws = await startLocalAws();
  Object.assign(process.env, aws.env);
  clients = makeClients(labRegion);
  connection = addConnection(aws, {
    peeringId: 'pcx-0123456789abcdef0',
    node: { vpcId, subnetId, range: '172.20.0.0/16' },
    peer: { ...peer, range: '10.0.0.0/16', address: '10.0.3.20', port: 5432 },
  });
});
afterEach(async () => {
  clients.ec2.destroy();
  await aws.close();
});

describe("the local EC2's firewalls:", () => {
  const unknown = { Filters: [{ Name: 'colour', Values: ['red'] }] };
  test.each<[string, () => Promise<unknown>, string]>([
    [
      'an unknown filter for network interfaces',
      () => clients.ec2.send(new DescribeNetworkInterfacesCommand(unknown)),
      'InvalidParameterValue',
    ],
    [
      'an unknown filter for security groups',
      () => clients.ec2.send(new DescribeSecurityGroupsCommand(unknown)),
      'InvalidParameterValue',
    ],
    [
      'an unknown filter for network ACLs',
      () => clients.ec2.send(new DescribeNetworkAclsCommand(unknown)),
      'InvalidParameterValue',
    ],
    [
      'an unknown filter for subnets',
      () => clients.ec2.send(new DescribeSubnetsCommand(unknown)),
      'InvalidParameterValue',
    ],
    [
      'an unsupported parameter',
      () => clients.ec2.send(new DescribeSecurityGroupsCommand({ GroupIds: ['sg-0a'] })),
      'UnknownParameter',
    ],
    [
      'pages that are too small',
      () => clients.ec2.send(new DescribeNetworkAclsCommand({ MaxResults: 4 })),
      'InvalidParameterValue',
    ],
  ])('a request with %s is rejected', async (_, send, code) => {
    expect(await errorCodeOf(send())).toBe(code);
  });

  test('a new VPC has a network ACL that allows everything, and a security group that allows its own members', async () => {
    const [acl] = (await clients.ec2.send(new DescribeNetworkAclsCommand({}))).NetworkAcls ?? [];
    expect(acl).toMatchObject({ IsDefault: true, Associations: [{ SubnetId: subnetId }] });
    const entries = acl?.Entries?.map(
      ({ RuleNumber, RuleAction }) => `${RuleNumber ?? 0} ${RuleAction ?? ''}`,
    );
    expect(new Set(entries)).toEqual(new Set(['100 allow', '32767 deny']));
    const [group] = (await clients.ec2.send(new DescribeSecurityGroupsCommand({}))).SecurityGroups ?? [];
    expect(group?.IpPermissions).toMatchObject([{ UserIdGroupPairs: [{ GroupId: group?.GroupId }] }]);
    expect(group?.IpPermissionsEgress).toMatchObject([{ IpRanges: [{ CidrIp: '0.0.0.0/0' }] }]);
  });

  test('associating a subnet with another network ACL removes the subnet from the default ACL', async () => {
    const own = { networkAclId: 'acl-0a', vpcId, isDefault: false, subnetIds: [subnetId], entries: [] };
    aws.state.acls.push(own);
    const Filters = [{ Name: 'association.subnet-id', Values: [subnetId] }];
    const { NetworkAcls } = await clients.ec2.send(new DescribeNetworkAclsCommand({ Filters }));
    expect(NetworkAcls?.map(({ NetworkAclId }) => NetworkAclId)).toEqual(['acl-0a']);
  });

  test('a terminated instance has no network interface', async () => {
    aws.addNode({ subnetId, state: 'terminated' });
    const Filters = [{ Name: 'vpc-id', Values: [vpcId] }];
    const found = await clients.ec2.send(new DescribeNetworkInterfacesCommand({ Filters }));
    expect(found.NetworkInterfaces).toEqual([]);
  });
});

test('DescribeVpcPeeringConnections returns the CIDR ranges of a peering only while the peering is active', async () => {
  const ranges = async () => {
    const { VpcPeeringConnections = [] } = await clients.ec2.send(
      new DescribeVpcPeeringConnectionsCommand({}),
    );
    return VpcPeeringConnections.map(({ AccepterVpcInfo }) => AccepterVpcInfo?.CidrBlock);
  };
  expect(await ranges()).toEqual(['10.0.0.0/16']);
  connection.misconfigure('peering-pending');
  expect(await ranges()).toEqual([undefined]);
});
