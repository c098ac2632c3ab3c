import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { Report } from '../../../shared/core/model/report';
import { parseRuleSet, printRuleSet, ruleSetId } from '../../../shared/core/model/rule-set';
import { asPubsub, insertEvent, peeringEvent } from '../../lab/gcp/events';
import { deliverEvent, startFunction, type LabFunction } from '../../lab/gcp/function';
import { startLocalGcp, type LocalGcp } from '../../lab/gcp/cloud';
import {
  addVm,
  callsOf,
  metadataOf,
  networkUrl,
  setMetadata,
  subnetworkUrl,
  type InjectedErrorKind,
  type LabNetwork,
  type LabVm,
} from '../../lab/gcp/state';
import { makeReport } from '../../lab/node-report';

const project = 'identity-nonprod';
let google: LocalGcp;
let folder: string;
let network: LabNetwork;
/** Serve one test after another, as instances of a function do. */
const reusable = new Map<Target, LabFunction>();
/** With settings of one test alone. */
let dedicated: LabFunction | undefined;

beforeAll(async () => {
  google = await startLocalGcp();
  folder = mkdtempSync(join(tmpdir(), 'peermasq-test-'));
});

afterAll(async () => {
  await Promise.all([...reusable.values()].map((each) => each.close()));
  await google.close();
  rmSync(folder, { recursive: true });
});

beforeEach(() => {
  const name = 'vpc-b';
  network = {
    project,
    name,
    peerings: [{ name: 'to-backend', state: 'ACTIVE', network: networkUrl(project, 'vpc-a') }],
    routes: {
      'to-backend/europe-west1': [
        { destRange: '10.193.0.0/16', imported: true, type: 'SUBNET_PEERING_ROUTE' },
      ],
    },
  };
  const subnetwork = { project, region: 'europe-west1', name, network: name, ipCidrRange: '10.209.0.0/16' };
  Object.assign(google.cloud, {
    vms: [],
    networks: [network],
    subnetworks: [subnetwork],
    injectedErrors: [],
    calls: [],
  });
});

afterEach(async () => {
  await dedicated?.close();
  google.cloud.changes.removeAllListeners();
});

const goodConfig = 'clusters: {frontend: {pods: [10.132.0.0/14], masquerade: [peerings]}}';

const targets = { nodeJoined: 'cloudevent', peeringChanged: 'cloudevent', backfill: 'http' } as const;
type Target = keyof typeof targets;

async function start(
  target: Target,
  config = goodConfig,
  settings: Readonly<Record<string, string>> = { PEERMASQ_PROJECTS: project },
): Promise<LabFunction> {
  const file = join(mkdtempSync(join(folder, 'config-')), 'peermasq.yaml');
  writeFileSync(file, config);
  const env = {
    ...google.env,
    PEERMASQ_CONFIG: file,
    PEERMASQ_INVOCATION_SECONDS: '25',
    ...settings,
  };
  return startFunction(target, targets[target], env);
}

async function startDedicated(...how: Parameters<typeof start>): Promise<LabFunction> {
  dedicated = await start(...how);
  return dedicated;
}

/** Its log begins with this test: that of an event is complete when it has been delivered. */
async function reusableFunction(target: Target): Promise<LabFunction> {
  const running = reusable.get(target) ?? (await start(target));
  reusable.set(target, running);
  running.log.length = 0;
  return running;
}

const addNode = (): LabVm =>
  addVm(google.cloud, {
    project,
    labels: { 'goog-k8s-cluster-name': 'frontend' },
    networkInterfaces: [
      {
        network: networkUrl(project, network.name),
        subnetwork: subnetworkUrl(project, 'europe-west1', network.name),
      },
    ],
  });

/** The node reports about the rule set in its metadata: that it is in force, unless `over` says otherwise. */
function report(vm: LabVm, over: Partial<Report> = {}): void {
  const ruleSet = parseRuleSet(metadataOf(vm, 'peermasq-ruleset') ?? '');
  vm.guestAttributes['peermasq/status'] = JSON.stringify(makeReport(ruleSet, over));
}

/** A node that answers each rule set it is handed, and has none in force. */
function addBusyNode(): LabVm {
  const vm = addNode();
  google.cloud.changes.on('change', () => {
    const offered = ruleSetId(parseRuleSet(metadataOf(vm, 'peermasq-ruleset') ?? ''));
    report(vm, { result: 'busy', proven: false, id: null, offered, reason: 'its lock is held' });
  });
  return vm;
}

describe('nodeJoined', () => {
  test('an insert is given back until the node is proven, then acknowledged', async () => {
    const joined = await reusableFunction('nodeJoined');
    const vm = addBusyNode();
    expect(await deliverEvent(joined, insertEvent(vm, 'first'))).toBe(500);
    report(vm);
    expect(await deliverEvent(joined, insertEvent(vm, 'last'))).toBe(204);
    expect(joined.log.map(({ message }) => message)).toEqual(
      expect.arrayContaining(['NodeJoined', 'RuleSetPushed', 'NodePending', 'NodeProven']),
    );
    expect(callsOf(google.cloud, 'compute.instances.setMetadata')).toBe(1);
  });

  test('the first entry is acted on as soon as the instance is there', async () => {
    const joined = await reusableFunction('nodeJoined');
    const vm = addBusyNode();
    google.cloud.vms = [];
    const delivered = deliverEvent(joined, insertEvent(vm, 'first'));
    while (callsOf(google.cloud, 'compute.instances.get') < 3) await pause(50);
    expect(metadataOf(vm, 'peermasq-ruleset')).toBeUndefined();
    google.cloud.vms = [vm];
    while (metadataOf(vm, 'peermasq-ruleset') === undefined) await pause(20);
    report(vm);
    // In the same invocation: what is not there is not given back.
    expect(await delivered).toBe(204);
  });

  test('it may come from the topic of a log sink', async () => {
    const joined = await reusableFunction('nodeJoined');
    const vm = addBusyNode();
    google.cloud.changes.on('change', () => {
      report(vm);
    });
    expect(await deliverEvent(joined, asPubsub(insertEvent(vm, 'first')))).toBe(204);
    expect(joined.log.map(({ message }) => message)).toContain('NodeProven');
  });

  test('a node that lost the race is acknowledged: only a reboot helps it, and that is said', async () => {
    const joined = await startDedicated('nodeJoined', goodConfig, {
      PEERMASQ_PROJECTS: project,
      PEERMASQ_INVOCATION_SECONDS: '12',
    });
    const vm = addNode();
    const ago = (minutes: number) => new Date(Date.now() - minutes * 60_000);
    vm.lastStartTimestamp = ago(10).toISOString();
    // It may still come: it has been handed its rules just now. A process that starts on a busy machine may need all
    // its time for that, and be told again.
    for (let attempt = 0; attempt < 4 && metadataOf(vm, 'peermasq-ruleset') === undefined; attempt += 1)
      expect(await deliverEvent(joined, insertEvent(vm, 'first'))).toBe(500);
    const ruleSet = parseRuleSet(metadataOf(vm, 'peermasq-ruleset') ?? '');
    setMetadata(
      google.cloud,
      vm,
      'peermasq-ruleset',
      printRuleSet({ ...ruleSet, generation: ago(1).getTime() }),
    );
    expect(await deliverEvent(joined, insertEvent(vm, 'last'))).toBe(204);
    expect(joined.log).toContainEqual(
      expect.objectContaining({
        message: 'NodeNeedsReboot',
        severity: 'ERROR',
        node: vm.id,
        cluster: 'frontend',
      }),
    );
    expect(vm.labels['peermasq-status']).toMatch(/^needs-reboot-\d+$/);
  }, 60_000);

  test.each(['compute.instances.get', 'compute.networks.get'])(
    'that %s is not permitted is acknowledged, and in the log: the sweep serves the node',
    async (method) => {
      // One that has not seen the network before: it shares its routes for a moment.
      const joined = await startDedicated('nodeJoined');
      google.cloud.injectedErrors.push({ method, kind: 'permission', times: Infinity });
      expect(await deliverEvent(joined, insertEvent(addNode(), 'first'))).toBe(204);
      expect(joined.log).toContainEqual(
        expect.objectContaining({
          message: 'ReconcileFailed',
          advice: expect.stringContaining(`Grant ${method} on`) as unknown,
        }),
      );
    },
  );

  test('an event of another kind is acknowledged, with the reason in the log', async () => {
    const joined = await reusableFunction('nodeJoined');
    const event = { ...insertEvent(addNode(), 'first'), type: 'google.cloud.storage.object.v1.finalized' };
    expect(await deliverEvent(joined, event)).toBe(204);
    expect(joined.log).toMatchObject([
      { message: 'EventIgnored', reason: expect.stringContaining('not an audit log event') },
    ]);
    expect(google.cloud.calls).toEqual([]);
  });

  test('a node that is still not proven half an hour after its event is given up, and said', async () => {
    const joined = await reusableFunction('nodeJoined');
    const vm = addBusyNode();
    const event = insertEvent(vm, 'first');
    const old = new Date(Date.now() - 31 * 60_000).toISOString();
    const data = { ...(event['data'] as object), timestamp: old };
    expect(await deliverEvent(joined, { ...event, time: old, data })).toBe(204);
    expect(joined.log).toContainEqual(
      expect.objectContaining({
        message: 'NodeTimedOut',
        severity: 'ERROR',
        node: vm.id,
        cluster: 'frontend',
        reason: 'The node is busy: its lock is held.',
      }),
    );
  });

  test('a bad config stops the function with every fault', async () => {
    const bad = 'clusters: {frontend: {pods: [10.132.0.1/14], masquerade: [peering]}}';
    await expect(start('nodeJoined', bad)).rejects.toThrow(
      /has 2 faults:[^]*host bits set[^]*read "peering"/,
    );
  });
});

test('PEERMASQ_INVOCATION_SECONDS that are no time to serve in stop the function', async () => {
  const stops = ['', 'soon', '-1'].map((seconds) =>
    expect(start('backfill', goodConfig, { PEERMASQ_INVOCATION_SECONDS: seconds })).rejects.toThrow(
      `PEERMASQ_INVOCATION_SECONDS is ${JSON.stringify(seconds)}; accepted is a number`,
    ),
  );
  await Promise.all(stops);
});

describe('peeringChanged', () => {
  /** A change so many seconds ago: within the ten that routes take to settle, so that no earlier pass saw it. */
  const change = (method: Parameters<typeof peeringEvent>[2], seconds = 9.5) => {
    const event = peeringEvent(project, network.name, method, 'last');
    const timestamp = new Date(Date.now() - seconds * 1_000).toISOString();
    return { ...event, data: { ...(event['data'] as object), timestamp } };
  };
  /** A node in force, as a pass before the change left it. */
  async function provenNode(changed: LabFunction): Promise<LabVm> {
    const vm = addNode();
    const follow = () => {
      report(vm);
    };
    google.cloud.changes.on('change', follow);
    expect(await deliverEvent(changed, change('addPeering'))).toBe(204);
    return vm;
  }
  const destinationsOf = (vm: LabVm) =>
    parseRuleSet(metadataOf(vm, 'peermasq-ruleset') ?? '').destinations.map(({ cidr }) => cidr.text);
  const setRoutes = (...ranges: string[]) => {
    network.routes['to-backend/europe-west1'] = ranges.map((destRange) => ({
      destRange,
      imported: true,
      type: 'SUBNET_PEERING_ROUTE',
    }));
  };
  const passes = () => callsOf(google.cloud, 'compute.instances.aggregatedList');

  test('all nodes are planned anew; a burst of changes is one pass', async () => {
    const changed = await reusableFunction('peeringChanged');
    const vm = await provenNode(changed);
    expect(destinationsOf(vm)).toEqual(['10.193.0.0/16']);
    setRoutes('10.193.0.0/16', '10.194.0.0/16');
    // Each has its turn after the one before, whatever the order in which they come.
    const burst = [change('addPeering', 9), change('updatePeering', 9.1), change('removePeering', 9.2)];
    for (const event of burst) expect(await deliverEvent(changed, event)).toBe(204);
    expect(destinationsOf(vm)).toEqual(['10.193.0.0/16', '10.194.0.0/16']);
    expect(passes()).toBe(2);
    expect(changed.log.filter(({ message }) => message === 'PeeringChanged')).toHaveLength(4);
  });

  test('a network that suddenly has far fewer routes keeps the rules in force, and says so', async () => {
    setRoutes('10.193.0.0/16', '10.194.0.0/16', '10.195.0.0/16');
    const changed = await reusableFunction('peeringChanged');
    const vm = await provenNode(changed);
    setRoutes('10.193.0.0/16');
    expect(await deliverEvent(changed, change('removePeering'))).toBe(204);
    expect(destinationsOf(vm)).toEqual(['10.193.0.0/16', '10.194.0.0/15']);
    expect(changed.log).toContainEqual(
      expect.objectContaining({
        message: 'NodeHeld',
        severity: 'ERROR',
        detail: '1 routes were found in vpc-b, where there were 3; the rules in force stay.',
      }),
    );
  });

  test.each<[string, InjectedErrorKind, number]>([
    ['lasts is given back', 'unavailable', 500],
    ['is a missing permission is acknowledged', 'permission', 204],
  ])('a fault that %s', async (_, kind, status) => {
    google.cloud.injectedErrors.push({ method: 'compute.instances.aggregatedList', kind, times: Infinity });
    expect(await deliverEvent(await reusableFunction('peeringChanged'), change('addPeering'))).toBe(status);
  });

  test('an insert is another function’s', async () => {
    const changed = await reusableFunction('peeringChanged');
    expect(await deliverEvent(changed, insertEvent(addNode(), 'first'))).toBe(204);
    expect(changed.log).toMatchObject([
      { message: 'EventIgnored', reason: "nodes-joined is another function's" },
    ]);
    expect(google.cloud.calls).toEqual([]);
  });
});

describe('backfill', () => {
  const post = async ({ url }: LabFunction, body: unknown, method = 'POST') => {
    const headers = { 'content-type': 'application/json' };
    const init = method === 'GET' ? {} : { headers, body: JSON.stringify(body) };
    const response = await fetch(url, { method, ...init });
    return { status: response.status, answer: (await response.json()) as unknown };
  };

  test('plans without a change when dry, then pushes and says who is proven', async () => {
    const backfill = await reusableFunction('backfill');
    const vm = addBusyNode();
    expect(await post(backfill, { dryRun: true })).toMatchObject({
      status: 200,
      answer: {
        counts: { planned: 1 },
        nodes: [{ node: `gcp:${vm.id}`, isChange: true }],
      },
    });
    expect(callsOf(google.cloud, 'compute.instances.setMetadata')).toBe(0);
    expect(await post(backfill, {})).toMatchObject({ status: 200, answer: { counts: { pending: 1 } } });
    report(vm);
    expect(await post(backfill, {})).toMatchObject({ status: 200, answer: { counts: { proven: 1 } } });
  });

  test('looks at the project of its credentials when none is named', async () => {
    const vm = addNode();
    expect(await post(await startDedicated('backfill', goodConfig, {}), { dryRun: true })).toMatchObject({
      answer: { nodes: [{ node: `gcp:${vm.id}`, outcome: 'planned' }] },
    });
  });

  test('a query string is refused: it would be taken for a real run', async () => {
    const backfill = await reusableFunction('backfill');
    addNode();
    expect(await post({ ...backfill, url: `${backfill.url}?dryRun=true` }, {})).toMatchObject({
      status: 400,
      answer: { code: 'bad-request', error: expect.stringContaining('query string') },
    });
    expect(google.cloud.calls).toEqual([]);
  });

  test.each([
    ['GET', {}, 405, { error: 'Send a POST.' }],
    [
      'POST',
      { cluster: 'frontend' },
      400,
      { code: 'bad-request', error: expect.stringContaining('cluster') },
    ],
  ])('%s %j is answered with %d', async (method, body, status, answer) => {
    expect(await post(await reusableFunction('backfill'), body, method)).toMatchObject({ status, answer });
    expect(google.cloud.calls).toEqual([]);
  });

  test('a missing permission is named, and logged once', async () => {
    google.cloud.injectedErrors.push({
      method: 'compute.instances.aggregatedList',
      kind: 'permission',
      times: Infinity,
    });
    const backfill = await startDedicated('backfill');
    const named = { advice: expect.stringContaining('compute.instances.list') as unknown };
    expect(await post(backfill, {})).toMatchObject({ status: 500, answer: named });
    await post(backfill, { last: true });
    await backfill.logged(({ code }) => code === 'bad-request');
    expect(backfill.log).toMatchObject([
      { message: 'ReconcileFailed', code: 'permission-denied', ...named },
      { message: 'SweepFinished', errors: 1 },
      { message: 'ApiCallsCounted', calls: 1 },
      { message: 'BackfillFailed', code: 'bad-request' },
    ]);
  });
});
