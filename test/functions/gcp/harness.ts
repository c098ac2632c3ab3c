import { afterAll, afterEach, beforeAll, beforeEach } from '@jest/globals';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Report } from '../../../shared/core/model/report';
import { parseRuleSet, ruleSetId } from '../../../shared/core/model/rule-set';
import { startLocalGcp, type LocalGcp } from '../../lab/gcp/cloud';
import { startFunction, type LabFunction } from '../../lab/gcp/function';
import {
  addVm,
  metadataOf,
  networkUrl,
  subnetworkUrl,
  type LabNetwork,
  type LabVm,
} from '../../lab/gcp/state';
import { makeReport } from '../../lab/node-report';

export const project = 'identity-nonprod';
export const goodConfig = 'clusters: {frontend: {pods: [10.132.0.0/14], masquerade: [peerings]}}';

const signatureTypes = { nodeJoined: 'cloudevent', peeringChanged: 'cloudevent', backfill: 'http' } as const;
type Target = keyof typeof signatureTypes;
type Settings = Readonly<Record<string, string>>;

/** A local Google Cloud with one network, and a function from dist/gcp. All tests in a file share both. */
export class FunctionHarness {
  google!: LocalGcp;
  network!: LabNetwork;
  private folder!: string;
  /** The function that all tests use by default. Like a Cloud Run instance, it keeps running between requests. */
  private shared!: LabFunction;
  /** A separate function, for a test that needs different settings or a function without cached state. */
  private dedicated: LabFunction | undefined;

  constructor(private readonly target: Target) {
    beforeAll(async () => {
      this.google = await startLocalGcp();
      this.folder = mkdtempSync(join(tmpdir(), 'peermasq-test-'));
      this.shared = await this.start();
    }, 60_000);
    afterAll(async () => {
      await this.shared.close();
      await this.google.close();
      rmSync(this.folder, { recursive: true });
    });
    beforeEach(() => {
      this.reset();
    });
    afterEach(async () => {
      await this.dedicated?.close();
      this.google.cloud.changes.removeAllListeners();
    });
  }

  private reset(): void {
    const name = 'vpc-b';
    const peerings: LabNetwork['peerings'] = [
      { name: 'to-backend', state: 'ACTIVE', network: networkUrl(project, 'vpc-a') },
    ];
    this.network = { project, name, peerings, routes: {} };
    this.setRoutes('10.193.0.0/16');
    Object.assign(this.google.cloud, {
      vms: [],
      networks: [this.network],
      subnetworks: [{ project, region: 'europe-west1', name, network: name, ipCidrRange: '10.209.0.0/16' }],
      injectedErrors: [],
      calls: [],
    });
  }

  /** Sets the destination ranges of the routes that the peering imports. */
  setRoutes(...ranges: string[]): void {
    this.network.routes['to-backend/europe-west1'] = ranges.map((destRange) => ({
      destRange,
      imported: true,
      type: 'SUBNET_PEERING_ROUTE',
    }));
  }

  start(config = goodConfig, settings: Settings = { PEERMASQ_PROJECTS: project }): Promise<LabFunction> {
    const file = join(mkdtempSync(join(this.folder, 'config-')), 'peermasq.yaml');
    writeFileSync(file, config);
    const env = {
      ...this.google.env,
      PEERMASQ_CONFIG: file,
      PEERMASQ_INVOCATION_SECONDS: '25',
      ...settings,
    };
    return startFunction(this.target, signatureTypes[this.target], env);
  }

  /** Starts a function that only the current test uses. It is closed after the test. */
  async startDedicated(settings?: Settings): Promise<LabFunction> {
    this.dedicated = await this.start(goodConfig, settings);
    return this.dedicated;
  }

  /**
   * Clears the shared function's log, so that the log contains only entries of the current test, and returns the
   * function.
   */
  useFunction(): LabFunction {
    this.shared.log.length = 0;
    return this.shared;
  }

  addNode(): LabVm {
    const { name } = this.network;
    return addVm(this.google.cloud, {
      project,
      labels: { 'goog-k8s-cluster-name': 'frontend' },
      networkInterfaces: [
        { network: networkUrl(project, name), subnetwork: subnetworkUrl(project, 'europe-west1', name) },
      ],
    });
  }

  /** Adds a node that has no rule set in force and reports that it is busy whenever a rule set is pushed. */
  addBusyNode(): LabVm {
    const vm = this.addNode();
    this.google.cloud.changes.on('change', () => {
      const offered = ruleSetId(parseRuleSet(metadataOf(vm, 'peermasq-ruleset') ?? ''));
      report(vm, { result: 'busy', proven: false, id: null, offered, reason: 'its lock is held' });
    });
    return vm;
  }
}

/**
 * Writes a node's report. By default, it reports that the rule set in the metadata is in force. `over` overrides
 * fields.
 */
export function report(vm: LabVm, over: Partial<Report> = {}): void {
  const ruleSet = parseRuleSet(metadataOf(vm, 'peermasq-ruleset') ?? '');
  vm.guestAttributes['peermasq/status'] = JSON.stringify(makeReport(ruleSet, over));
}
