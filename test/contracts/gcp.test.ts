import { afterAll, beforeAll } from '@jest/globals';
import type { GcpNodeRef } from '../../shared/core/model/node';
import type { Cloud } from '../../shared/core/cloud';
import { getClients } from '../../shared/gcp/client/clients';
import { makeCloud } from '../../shared/gcp/cloud';
import { makeInspection } from '../../shared/gcp/snapshot';
import { bootGceNode } from '../lab/gcp/startup-scripts-service';
import { startLocalGcp, type LocalGcp } from '../lab/gcp/cloud';
import { addVm, callsOf, networkUrl, subnetworkUrl } from '../lab/gcp/state';
import type { Machine } from '../lab/machine';
import { describeCloud, silentLog, type CloudLab, type NewNode } from './cloud';
import { describeInspection } from './snapshot';
import { openMachines } from './machines';
import { nodeProgram } from '../lab/node-program';

const project = 'identity-nonprod';
const region = 'europe-west1';
const zone = 'europe-west1-c';
const refOf = (id: string): GcpNodeRef => ({ cloud: 'gcp', project, zone, id });

// The clients are shared by all tests in this file, because creating them takes longer than a test.
let google: LocalGcp;
let cloud: Cloud;

beforeAll(async () => {
  google = await startLocalGcp();
  Object.assign(process.env, google.env);
  cloud = makeCloud({ projects: [project], program: nodeProgram });
  addVm(google.cloud, { project });
  await cloud.nodes.list(['*'], Date.now() + 60_000);
}, 60_000);

afterAll(() => google.close());

function open(): Promise<CloudLab> {
  Object.assign(google.cloud, { vms: [], networks: [], subnetworks: [], injectedErrors: [], calls: [] });
  const machines = openMachines();
  const nodes = new Map<string, { machine: Machine; metadataHost: string }>();

  async function boot(id: string): Promise<void> {
    const node = nodes.get(id);
    const vm = google.cloud.vms.find((each) => each.id === id);
    if (!node || !vm) throw new Error(`no VM ${id}`);
    vm.status = 'RUNNING';
    await bootGceNode(node.machine, { metadataHost: node.metadataHost });
  }

  async function addNode({ cluster, routes = [], isReady = true }: NewNode): Promise<GcpNodeRef> {
    const network = `vpc-${nodes.size}`;
    const imported = routes.map((destRange) => ({
      destRange,
      imported: true,
      type: 'SUBNET_PEERING_ROUTE' as const,
    }));
    google.cloud.networks.push({
      project,
      name: network,
      peerings: [{ name: 'to-backend', state: 'ACTIVE', network: networkUrl(project, 'backend') }],
      routes: { [`to-backend/${region}`]: imported },
    });
    google.cloud.subnetworks.push({ project, region, name: network, network, ipCidrRange: '10.209.0.0/16' });
    const { machine, addressOfThisProcess } = await machines.add();
    const vm = addVm(google.cloud, {
      project,
      zone,
      status: 'PROVISIONING',
      labels: cluster === undefined ? {} : { 'goog-k8s-cluster-name': cluster },
      networkInterfaces: [
        { network: networkUrl(project, network), subnetwork: subnetworkUrl(project, region, network) },
      ],
    });
    const { address } = await google.metadataServer(vm, { host: addressOfThisProcess });
    nodes.set(vm.id, { machine, metadataHost: address });
    // A node that the test wants ready boots as soon as its metadata has a startup script.
    if (isReady) void startupScriptSet(vm.id).then(() => boot(vm.id));
    return refOf(vm.id);
  }

  /** Resolves when a VM's metadata has a startup script. */
  function startupScriptSet(id: string): Promise<void> {
    return new Promise((resolve) => {
      const check = () => {
        const vm = google.cloud.vms.find((each) => each.id === id);
        if (!vm?.metadata.some(({ key }) => key === 'startup-script')) return;
        google.cloud.changes.off('change', check);
        resolve();
      };
      google.cloud.changes.on('change', check);
    });
  }

  const mutating = ['compute.instances.setMetadata', 'compute.instances.setLabels'];
  return Promise.resolve({
    cloud,
    inspection: makeInspection(getClients(), silentLog),
    manualCommand: ({ id }) =>
      `gcloud compute ssh ${google.cloud.vms.find((vm) => vm.id === id)?.name} --zone ${zone} --project ${project} --command 'sudo `,
    nonexistent: refOf('999999999999999999'),
    addNode,
    makeReady: ({ id }) => boot(id),
    terminate: ({ id }) => {
      google.cloud.vms = google.cloud.vms.filter((vm) => vm.id !== id);
    },
    machineOf: ({ id }) => nodes.get(id)?.machine,
    failWith: (failure, when) => {
      const kind = failure === 'forbidden' ? 'permission' : 'unavailable';
      const method = when === 'discovering' ? 'compute.instances.get' : 'compute.instances.setMetadata';
      google.cloud.injectedErrors.push({ method, kind, times: Infinity });
    },
    mutatingCalls: () => mutating.reduce((sum, method) => sum + callsOf(google.cloud, method), 0),
    close: () => machines.close(),
  });
}

describeCloud('Google Cloud', open);
describeInspection('Google Cloud', open);
