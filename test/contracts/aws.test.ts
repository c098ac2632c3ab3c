import { makeDocument, makeSnapshotDocument } from '../../infra/aws/document';
import { makeClients } from '../../shared/aws/client/clients';
import { makeCloud } from '../../shared/aws/cloud';
import { makeInspection } from '../../shared/aws/snapshot';
import { documentName, snapshotDocumentName } from '../../shared/aws/names';
import type { NodeRef } from '../../shared/core/model/node';
import { definedOnly } from '../../shared/core/util/collections';
import { labAccount, labRegion, startLocalAws } from '../lab/aws/cloud';
import { describeCloud, type CloudLab } from './cloud';
import { describeInspection } from './snapshot';
import { openMachines } from './machines';
import { nodeProgram } from '../lab/node-program';

const refOf = (id: string): NodeRef => ({ cloud: 'aws', account: labAccount, region: labRegion, id });

async function open(): Promise<CloudLab> {
  const aws = await startLocalAws();
  const machines = openMachines();
  Object.assign(process.env, aws.env);
  const program = nodeProgram;
  aws.putDocument(documentName('test'), makeDocument(program));
  aws.putDocument(snapshotDocumentName('test'), makeSnapshotDocument(program));
  const clients = makeClients(labRegion);
  const options = { stage: 'test', firstPollMs: 100 };
  const peering = 'pcx-0123456789abcdef0';
  aws.state.peerings.push({ vpcPeeringConnectionId: peering, status: 'active' });
  let subnets = 0;

  return {
    cloud: makeCloud(clients, options),
    inspection: makeInspection(clients, options),
    manualCommand: ({ id }) => `aws ssm start-session --target ${id}`,
    nonexistent: refOf('i-0fffffffffffffff0'),
    addNode: async ({ cluster, routes = [], isReady = true }) => {
      const number = String(++subnets).padStart(8, '0');
      const subnetId = `subnet-${number}`;
      aws.addNetwork({
        vpcId: `vpc-${number}`,
        cidrs: ['172.20.0.0/16'],
        subnetIds: [subnetId],
        routes: routes.map((range) => ({ destinationCidrBlock: range, vpcPeeringConnectionId: peering })),
      });
      const { machine } = await machines.add();
      const id = aws.addNode({ subnetId, isReady, machine, ...definedOnly({ cluster }) });
      return refOf(id);
    },
    makeReady: ({ id }) => {
      aws.setReady(id, true);
      return Promise.resolve();
    },
    terminate: ({ id }) => {
      const instance = aws.state.instances.get(id);
      if (instance) instance.state = 'terminated';
    },
    machineOf: ({ id }) => aws.state.agents.get(id)?.machine,
    failWith: (failure, when) => {
      const action = when === 'discovering' ? 'DescribeInstances' : 'SendCommand';
      if (failure === 'forbidden') aws.deny(`${when === 'discovering' ? 'ec2' : 'ssm'}:${action}`);
      else aws.fail(action, 'Unavailable', 'The service is unavailable.', Infinity, 503);
    },
    mutatingCalls: () => aws.count('SendCommand') + aws.count('CreateTags'),
    close: async () => {
      await aws.waitForCommands();
      await aws.close();
      await machines.close();
    },
  };
}

describeCloud('AWS', open);
describeInspection('AWS', open);
