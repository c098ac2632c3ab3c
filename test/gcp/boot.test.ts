import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { parseCidr } from '../../shared/core/model/cidr';
import type { Cloud, ProofResult } from '../../shared/core/cloud';
import { ruleSetId, type RuleSet } from '../../shared/core/model/rule-set';
import { makeCloud } from '../../shared/gcp/cloud';
import { bootGceNode } from '../lab/gcp/startup-scripts-service';
import { startLocalGcp, type LocalGcp } from '../lab/gcp/cloud';
import { addVm, setMetadata, type LabVm } from '../lab/gcp/state';
import { describeKernel } from '../lab/kernel';
import { buildNetworks, type Networks } from '../lab/networks';
import { gcpPeering } from '../lab/topologies';
import { nodeProgram } from '../lab/node-program';

const ruleSet = (generation: number, destination: string): RuleSet => ({
  generation,
  randomFully: false,
  sources: [parseCidr('10.132.0.0/14')],
  exemptions: [],
  destinations: [{ cidr: parseCidr(destination), name: 'backend-vpc' }],
  probes: [],
});

describeKernel('a node on Google Cloud', undefined, () => {
  let lab: LocalGcp;
  let networks: Networks;
  let vm: LabVm;
  let cloud: Cloud;
  let metadataHost: string;

  beforeEach(async () => {
    [lab, networks] = await Promise.all([startLocalGcp(), buildNetworks(gcpPeering)]);
    Object.assign(process.env, lab.env);
    cloud = makeCloud({ projects: [], program: nodeProgram });
    vm = addVm(lab.cloud, { status: 'STAGING' });
    const server = await lab.metadataServer(vm, { host: networks.managementAddress });
    metadataHost = server.address;
  }, 30_000);

  afterEach(async () => {
    await networks.close();
    await lab.close();
  });

  async function push(given: RuleSet): Promise<ProofResult | undefined> {
    const { project, zone, id } = vm;
    const deadline = Date.now() + 15_000;
    const nodes = await cloud.nodes.get([{ cloud: 'gcp', project, zone, id }], deadline);
    const pushes = await cloud.channel.push({ ruleSet: given, routes: 1 }, nodes, deadline);
    if (vm.status === 'STAGING') {
      vm.status = 'RUNNING';
      expect(await bootGceNode(networks.node, { metadataHost })).toMatchObject({ status: 0 });
    }
    const [proof] = await cloud.channel.collectProofs(
      pushes.filter((push) => push.result === 'pushed'),
      deadline,
    );
    return proof;
  }

  test('proves the rule set that is in its metadata at boot, and later applies a new rule set', async () => {
    setMetadata(lab.cloud, vm, 'startup-script', '#!/bin/sh\nexit 0\n');
    const backend = ruleSet(1, '10.193.0.0/16');
    expect((await networks.pod.request()).reached).toBe(false);

    expect(await push(backend)).toMatchObject({
      result: 'reported',
      report: { proven: true, id: ruleSetId(backend) },
    });
    expect(await networks.pod.request()).toMatchObject({ reached: true, sourceSeenByPeer: '10.209.0.2' });

    const elsewhere = ruleSet(2, '10.7.0.0/16');
    expect(await push(elsewhere)).toMatchObject({
      result: 'reported',
      report: { proven: true, id: ruleSetId(elsewhere) },
    });
    expect((await networks.pod.request()).reached).toBe(false);
  }, 40_000);

  test('reports why it rejects a rule set, and keeps the rule set in force', async () => {
    const inForce = ruleSet(5, '10.193.0.0/16');
    const stale = ruleSet(4, '10.7.0.0/16');
    const foreign = ruleSet(6, '0.0.0.0/1');
    const kept = { id: ruleSetId(inForce), generation: 5, proven: false, result: 'refused' };
    await push(inForce);

    setMetadata(lab.cloud, vm, 'peermasq-ruleset', undefined);
    expect(await push(stale)).toMatchObject({
      result: 'reported',
      report: { ...kept, offered: ruleSetId(stale), reason: expect.stringContaining('older') as unknown },
    });
    expect(await push(foreign)).toMatchObject({
      result: 'reported',
      report: {
        ...kept,
        offered: ruleSetId(foreign),
        reason: expect.stringContaining('overlaps') as unknown,
      },
    });
    expect(await networks.pod.request()).toMatchObject({ reached: true });
  }, 40_000);
});
