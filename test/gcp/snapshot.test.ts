import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { PermanentError } from '../../shared/core/model/errors';
import type { GcpNode } from '../../shared/gcp/discover/nodes';
import type { Cloud, Inspection } from '../../shared/core/cloud';
import type { Log } from '../../shared/core/log';
import { getClients } from '../../shared/gcp/client/clients';
import { makeCloud } from '../../shared/gcp/cloud';
import { makeInspection } from '../../shared/gcp/snapshot';
import { composeStartupScript } from '../../shared/gcp/deliver/startup-script';
import { startLocalGcp, type LocalGcp } from '../lab/gcp/cloud';
import { addVm, metadataOf, setMetadata, type GcpState, type LabVm } from '../lab/gcp/state';

let lab: LocalGcp;
let state: GcpState;
let cloud: Cloud<GcpNode>;
let inspection: Inspection<GcpNode>;
let warnings: Record<string, unknown>[];
let vm: LabVm;

const seeded = [{ key: 'startup-script', value: composeStartupScript('#!/bin/sh\necho hello\n') }];
const inSeconds = (seconds: number) => Date.now() + seconds * 1_000;

beforeAll(async () => {
  lab = await startLocalGcp();
  state = lab.cloud;
  Object.assign(process.env, lab.env);
  cloud = makeCloud({ projects: [], program: '#!/bin/bash\n# peermasq\n' });
  const log: Log = {
    info: () => undefined,
    warn: (event, fields) => warnings.push({ event, ...fields }),
    error: () => undefined,
  };
  inspection = makeInspection(getClients(), log);
  addVm(state);
  // The first call loads the clients, which takes up to 30 s on a slow machine.
  await cloud.nodes.list(['*'], inSeconds(60));
}, 60_000);
afterAll(() => lab.close());

beforeEach(() => {
  Object.assign(state, { vms: [], injectedErrors: [], calls: [] });
  warnings = [];
  vm = addVm(state, {
    metadata: [...seeded, { key: 'enable-guest-attributes', value: 'TRUE' }],
    labels: { 'goog-k8s-cluster-name': 'shop' },
  });
});
afterEach(() => {
  state.changes.removeAllListeners('change');
});

async function node(): Promise<GcpNode> {
  const { project, zone, id } = vm;
  const [found] = await cloud.nodes.get([{ cloud: 'gcp', project, zone, id }], inSeconds(10));
  if (!found) throw new Error('no node');
  return found;
}
const requestNonce = () => metadataOf(vm, 'peermasq-snapshot');

/** Simulates the part of the node's watcher that responds to snapshot requests. */
function onSnapshotRequest(act: (nonce: string) => void): void {
  state.changes.on('change', () => {
    const nonce = requestNonce();
    if (nonce !== undefined) act(nonce);
  });
}
function respond(nonce: string): void {
  const text = gzipSync('*nat\nCOMMIT\n').toString('base64');
  const sha256 = createHash('sha256').update(text).digest('hex');
  vm.guestAttributes['peermasq-snapshot/0'] = `${nonce} part 0 of 1 sha256 ${sha256}\n${text}\n`;
}

test('a snapshot is requested and returned, and the request is removed from the metadata', async () => {
  onSnapshotRequest(respond);
  expect(await inspection.takeSnapshot(await node(), inSeconds(30))).toBe('*nat\nCOMMIT\n');
  expect(requestNonce()).toBeUndefined();
  expect(warnings).toEqual([]);
});

const denyWrites = () =>
  state.injectedErrors.push({ method: 'compute.instances.setMetadata', kind: 'permission', times: 9 });

test('a snapshot request that cannot be removed is logged, and the snapshot is still returned', async () => {
  onSnapshotRequest((nonce) => {
    respond(nonce);
    denyWrites();
  });
  expect(await inspection.takeSnapshot(await node(), inSeconds(30))).toBe('*nat\nCOMMIT\n');
  expect(warnings).toMatchObject([{ event: 'RecordFailed', node: vm.id }]);
  expect(warnings).toMatchObject([
    { reason: expect.stringContaining('peermasq-snapshot stays in the metadata') },
  ]);
});

test('a snapshot request that cannot be removed does not hide the reason why the node did not respond', async () => {
  onSnapshotRequest(denyWrites);
  await expect(inspection.takeSnapshot(await node(), inSeconds(12))).rejects.toMatchObject({
    code: 'no-answer',
  });
  expect(warnings).toHaveLength(1);
});

test('an interrupted snapshot removes its request', async () => {
  const interrupt = new AbortController();
  onSnapshotRequest(() => {
    interrupt.abort(new Error('interrupted'));
  });
  await expect(inspection.takeSnapshot(await node(), inSeconds(30), interrupt.signal)).rejects.toThrow(
    'interrupted',
  );
  expect(requestNonce()).toBeUndefined();
});

test.each([
  [
    'removes an expired snapshot request',
    Math.floor(Date.now() / 1_000 - 86_400).toString(16) + '0'.repeat(24),
    undefined,
  ],
  ['removes a malformed snapshot request', 'hello', undefined],
  [
    'keeps a recent snapshot request',
    Math.floor(Date.now() / 1_000).toString(16) + '0'.repeat(24),
    expect.any(String),
  ],
])('a push %s', async (_, nonce, expected) => {
  setMetadata(state, vm, 'peermasq-snapshot', nonce);
  const ruleSet = {
    generation: Date.now(),
    randomFully: false,
    sources: [],
    exemptions: [],
    destinations: [],
    probes: [],
  };
  const request = { ruleSet, routes: 0 };
  expect(await cloud.channel.push(request, [await node()], inSeconds(10))).toMatchObject([
    { result: 'pushed' },
  ]);
  expect(requestNonce()).toEqual(expected);
});

test("a snapshot of a node without a watcher fails with advice, and the node's metadata is restored", async () => {
  vm.metadata = [{ key: 'startup-script', value: '#!/bin/sh\necho hello\n' }];
  const failure = await inspection.takeSnapshot(await node(), inSeconds(12)).catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(PermanentError);
  expect(failure).toMatchObject({
    code: 'no-answer',
    message: expect.stringContaining('it never received a push') as unknown,
    advice: expect.stringMatching(
      /npx peermasq backfill --node \d+\. Manually: gcloud compute ssh /,
    ) as unknown,
  });
  expect(requestNonce()).toBeUndefined();
});

test('a watcher that a DaemonSet installed responds to a snapshot request, and guest attributes are enabled for its response', async () => {
  vm.metadata = [];
  onSnapshotRequest(respond);
  expect(await inspection.takeSnapshot(await node(), inSeconds(30))).toBe('*nat\nCOMMIT\n');
  expect(metadataOf(vm, 'enable-guest-attributes')).toBe('TRUE');
});
