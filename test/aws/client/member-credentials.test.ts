import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { makeClients, type Clients } from '../../../shared/aws/client/clients';
import { makeCloud } from '../../../shared/aws/cloud';
import { memberRoleName } from '../../../shared/aws/names';
import { PermanentError } from '../../../shared/core/model/errors';
import { labRegion, startLocalAws, type LocalAws } from '../../lab/aws/cloud';
import { soon, subnetId, vpcId } from '../cloud';

const member = '222222222222';
const roleName = memberRoleName('test', labRegion);
const role = (name = roleName) => `arn:aws:iam::${member}:role/${name}`;

let aws: LocalAws;
let clients: Clients;

beforeEach(async () => {
  aws = await startLocalAws();
  Object.assign(process.env, aws.env);
});
afterEach(async () => {
  clients.ec2.destroy();
  await aws.close();
});

test('the nodes of a member account are listed with its role, which is assumed once', async () => {
  const account = aws.addAccount(member, { roleName });
  account.addNetwork({ vpcId, cidrs: ['172.20.0.0/16'], subnetIds: [subnetId] });
  const id = account.addNode({ subnetId, cluster: 'shop' });
  clients = makeClients(labRegion, role());
  const { nodes } = makeCloud(clients, { stage: 'test' });
  expect(await nodes.list(['shop'], soon())).toMatchObject([{ ref: { account: member, id } }]);
  // The credentials are cached.
  await nodes.list(['shop'], soon());
  expect(aws.allCalls.filter(({ action }) => action === 'AssumeRole')).toHaveLength(1);
});

test('a role that may not be assumed is named, with the statement that allows it', async () => {
  clients = makeClients(labRegion, role('another'));
  const { nodes } = makeCloud(clients, { stage: 'test' });
  const failure = await nodes.list(['shop'], soon()).catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(PermanentError);
  expect(failure).toMatchObject({
    code: 'access-denied',
    message: expect.stringContaining(role('another')),
    advice: expect.stringContaining('the statement AssumeMemberRoles'),
  });
});
