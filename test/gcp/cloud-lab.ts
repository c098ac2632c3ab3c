import { afterAll, beforeAll, beforeEach } from '@jest/globals';
import type { Cloud, ProofResult, PushedNode, PushResult } from '../../shared/core/cloud';
import { parseCidr } from '../../shared/core/model/cidr';
import type { Report } from '../../shared/core/model/report';
import { ruleSetId, type RuleSet } from '../../shared/core/model/rule-set';
import { makeCloud } from '../../shared/gcp/cloud';
import { composeStartupScript } from '../../shared/gcp/deliver/startup-script';
import type { GcpNode } from '../../shared/gcp/discover/nodes';
import { startLocalGcp, type LocalGcp } from '../lab/gcp/cloud';
import { addVm, type GcpState, type LabVm, type MetadataItem } from '../lab/gcp/state';
import { makeReport } from '../lab/node-report';

export const program = '#!/bin/bash\n# peermasq: the node program\n';
export const project = 'identity-nonprod';

export const inSeconds = (seconds: number) => Date.now() + seconds * 1_000;
export const minutesAgo = (minutes: number) => new Date(Date.now() - minutes * 60_000);

export const refOf = ({ project, zone, id }: LabVm) => ({ cloud: 'gcp', project, zone, id }) as const;

/** Returns the labels of a GKE node. */
export const gke = (cluster: string) => ({ labels: { 'goog-k8s-cluster-name': cluster } });

export const ruleSet = (generation: number, destination = '10.193.0.0/16'): RuleSet => ({
  generation,
  randomFully: false,
  sources: [parseCidr('10.132.0.0/14')],
  exemptions: [],
  destinations: [{ cidr: parseCidr(destination), name: 'backend-vpc' }],
  probes: [],
});

/** Returns a node's metadata after a push of this rule set. The metadata lacks the number of routes. */
export const assigned = (value: string): MetadataItem[] => [
  { key: 'peermasq-ruleset', value },
  { key: 'peermasq-program', value: program },
  { key: 'startup-script', value: composeStartupScript(undefined) },
  { key: 'enable-guest-attributes', value: 'TRUE' },
];

export function report(vm: LabVm, given: RuleSet | undefined, changes: Partial<Report> = {}): void {
  vm.guestAttributes['peermasq/status'] = JSON.stringify(makeReport(given, changes));
}

/** Returns the result of a push of a rule set that is already in the node's metadata. */
export const pushedBefore = (node: GcpNode, given: RuleSet): PushedNode<GcpNode> => ({
  result: 'pushed',
  node,
  ruleSet: given,
  id: ruleSetId(given),
});

/**
 * A local Google Cloud, and the adapter that accesses it. All tests of a file share it, and each test starts without
 * VMs.
 */
export class CloudLab {
  private google!: LocalGcp;
  state!: GcpState;
  cloud!: Cloud<GcpNode>;

  constructor() {
    beforeAll(async () => {
      this.google = await startLocalGcp();
      this.state = this.google.cloud;
      Object.assign(process.env, this.google.env);
      this.cloud = makeCloud({ projects: [project], program });
      const metadata = [{ key: 'enable-guest-attributes', value: 'TRUE' }];
      this.state.projects[project] = { number: '415104041262', metadata };
      // The first call loads the clients, which takes up to 30 s on a slow machine.
      addVm(this.state);
      await this.cloud.nodes.list(['*'], inSeconds(60));
    }, 60_000);

    afterAll(() => this.google.close());

    beforeEach(() => {
      Object.assign(this.state, {
        vms: [],
        networks: [],
        subnetworks: [],
        routes: [],
        routers: [],
        injectedErrors: [],
        calls: [],
        pageSize: 500,
        keepsStartOnReset: false,
        operationMs: 20,
        maxOperationWaitMs: 120_000,
      });
      delete this.state.operationError;
    });
  }

  get endpoint(): string {
    return this.google.env.PEERMASQ_COMPUTE_ENDPOINT;
  }

  async nodeOf(vm: LabVm): Promise<GcpNode> {
    const [node] = await this.cloud.nodes.get([refOf(vm)], inSeconds(10));
    if (!node) throw new Error(`no node ${vm.name}`);
    return node;
  }

  async push(vm: LabVm, given = ruleSet(1)): Promise<PushResult<GcpNode>> {
    const request = { ruleSet: given, routes: 1 };
    const [result] = await this.cloud.channel.push(request, [await this.nodeOf(vm)], inSeconds(20));
    if (!result) throw new Error('no result');
    return result;
  }

  /**
   * Pushes a rule set.
   * @throws Error if the push fails
   */
  async pushed(vm: LabVm, given?: RuleSet): Promise<PushedNode<GcpNode>> {
    const result = await this.push(vm, given);
    if (result.result !== 'pushed') throw new Error(result.result);
    return result;
  }

  collectProofs(
    pushed: readonly PushedNode<GcpNode>[],
    seconds: number,
  ): Promise<readonly ProofResult<GcpNode>[]> {
    return this.cloud.channel.collectProofs(pushed, inSeconds(seconds));
  }
}
