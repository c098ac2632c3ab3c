import { resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseConfig } from '../../../shared/core/model/config';
import type { Outcome } from '../../../shared/core/reconcile/outcome';
import { reconcileOrThrow } from '../../../shared/core/reconcile/reconcile';
import { parseReport, type Report } from '../../../shared/core/model/report';
import { makeCloud } from '../../../shared/gcp/cloud';
import { startLocalGcp, type LocalGcp } from '../gcp/cloud';
import { addVm, networkUrl, subnetworkUrl, type LabVm } from '../gcp/state';
import { buildNetworks, type Networks } from '../networks';
import { gcpPeering } from '../topologies';
import { makeBootedNode, type BootedNode } from './booted-node';
import { nodeProgram } from '../node-program';

export const program = nodeProgram;

/** A VM in the local Google Cloud that runs a complete Debian system in the lab's networks. */
export interface GcpNode {
  readonly google: LocalGcp;
  readonly networks: Networks;
  readonly vm: LabVm;
  readonly system: BootedNode;
  /** Boots the VM and updates its start time, like the real cloud. Resolves when the startup scripts have run. */
  readonly boot: () => Promise<void>;
  readonly reboot: () => Promise<void>;
  /** Reconciles the node once with a config that has the given destinations. */
  readonly reconcileNode: (destinations: readonly string[], options?: ReconcileOptions) => Promise<Outcome>;
  readonly stopMetadataServer: () => Promise<void>;
  readonly startMetadataServer: () => Promise<void>;
  /** Returns the node's last report from its guest attributes, or undefined. */
  readonly report: () => Report | undefined;
  /** Returns the destinations of the masquerade rules in the node's kernel. */
  readonly destinations: () => Promise<readonly string[]>;
  readonly close: () => Promise<void>;
}

export interface ReconcileOptions {
  /** How many seconds to wait for the proof. */
  readonly seconds?: number;
  /** How many milliseconds ago the rule set was generated. */
  readonly secondsAgo?: number;
  /** The text of the node program to install. */
  readonly text?: string;
}

const metadataAddress = { host: '169.254.169.254', port: 80 };

/** @param remounts see `makeBootedNode` */
export async function makeGcpNode(remounts?: Readonly<Record<string, string>>): Promise<GcpNode> {
  const closing: (() => Promise<void>)[] = [];
  const close = async () => {
    for (const each of closing.splice(0).reverse()) await each();
  };
  try {
    return await make(closing, close, remounts);
  } catch (error) {
    await close();
    throw error;
  }
}

async function make(
  closing: (() => Promise<void>)[],
  close: () => Promise<void>,
  remounts?: Readonly<Record<string, string>>,
): Promise<GcpNode> {
  const networks = await buildNetworks(gcpPeering, { managementAddress: metadataAddress.host });
  closing.push(networks.close);
  const google = await startLocalGcp();
  closing.push(() => google.close());
  Object.assign(process.env, google.env);
  const vm = addNode(google);
  let server = await google.metadataServer(vm, metadataAddress);
  const image = resolve(process.env['PEERMASQ_IMAGE'] ?? '');
  const system = await makeBootedNode(networks.nodeHost, image, remounts);
  closing.push(system.close);

  async function boot(): Promise<void> {
    Object.assign(vm, { status: 'RUNNING', lastStartTimestamp: new Date().toISOString() });
    await system.boot();
  }

  async function reconcileNode(
    destinations: readonly string[],
    options: ReconcileOptions = {},
  ): Promise<Outcome> {
    const { seconds = 40, secondsAgo = 0, text = program } = options;
    const { project, zone, id } = vm;
    const [outcome] = await reconcileOrThrow(
      [{ cloud: 'gcp', project, zone, id }],
      {
        cloud: makeCloud({ projects: [project], program: text }),
        config: parseConfig(configOf(destinations)),
        clock: { now: () => Date.now() - secondsAgo * 1000 },
        log: { info: () => undefined, warn: () => undefined, error: () => undefined },
      },
      { deadline: Date.now() + seconds * 1000 },
    );
    if (!outcome) throw new Error('expected one outcome for one node');
    return outcome;
  }

  return {
    google,
    networks,
    vm,
    system,
    boot,
    reboot: async () => {
      await system.powerOff();
      await boot();
    },
    reconcileNode,
    stopMetadataServer: () => server.close(),
    startMetadataServer: async () => {
      server = await google.metadataServer(vm, metadataAddress);
    },
    report: () => {
      const text = vm.guestAttributes['peermasq/status'];
      return text === undefined ? undefined : parseReport(text);
    },
    destinations: async () => {
      const rules = await networks.nodeHost.run(['iptables-save', '-t', 'nat']);
      if (!rules.includes('-A POSTROUTING -m comment --comment peermasq -j PEERMASQ\n')) return [];
      return [...rules.matchAll(/^-A PEERMASQ .*-d (\S+) .*-j MASQUERADE$/gm)].map(([, cidr = '']) => cidr);
    },
    close,
  };
}

const configOf = (destinations: readonly string[]): string =>
  JSON.stringify({
    clusters: {
      frontend: {
        pods: ['10.132.0.0/14'],
        masquerade: destinations.map((cidr) => ({ cidr, name: 'backend' })),
      },
    },
  });

function addNode({ cloud }: LocalGcp): LabVm {
  const [project, region, name] = ['identity-nonprod', 'europe-west1', 'vpc-b'];
  cloud.networks.push({ project, name, peerings: [], routes: {} });
  cloud.subnetworks.push({ project, region, name, network: name, ipCidrRange: '10.209.0.0/16' });
  return addVm(cloud, {
    project,
    status: 'STAGING',
    labels: { 'goog-k8s-cluster-name': 'frontend' },
    networkInterfaces: [
      { network: networkUrl(project, name), subnetwork: subnetworkUrl(project, region, name) },
    ],
  });
}

/** Waits for a condition without a time limit, because the test has a timeout. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await delay(50);
}
