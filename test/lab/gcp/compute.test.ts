import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import * as z from 'zod';
import { startLocalGcp, type LocalGcp } from './cloud';
import { enableRateLimits, makeRateLimits } from './rate-limits';
import { addVm, networkUrl, type LabVm } from './state';

let lab: LocalGcp;
let vm: LabVm;

beforeAll(async () => {
  lab = await startLocalGcp();
  vm = addVm(lab.cloud, { metadata: [{ key: 'there', value: 'before' }] });
});
afterAll(() => lab.close());

interface Given {
  readonly path?: string;
  readonly body?: unknown;
  readonly token?: string;
}

async function call({ path = '', body, token = lab.cloud.token }: Given) {
  const at = `projects/${vm.project}/zones/${vm.zone}/instances/${vm.id}`;
  const response = await fetch(`${lab.env.PEERMASQ_COMPUTE_ENDPOINT}/compute/v1/${path.replace('VM', at)}`, {
    headers: { authorization: `Bearer ${token}` },
    ...(body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }),
  });
  const answer: unknown = await response.json();
  return { status: response.status, answer };
}

const fingerprint = async () => {
  const { answer } = await call({ path: 'VM' });
  return z.object({ metadata: z.object({ fingerprint: z.string() }) }).parse(answer).metadata.fingerprint;
};

describe('the local Compute API', () => {
  test.each<[string, Given, number, string]>([
    ['a call without a token', { path: 'VM', token: '' }, 401, 'required'],
    ['an unknown method', { path: 'VM/attachDisk', body: {} }, 400, 'badRequest'],
    ['an unknown parameter', { path: 'VM?fingerprint=x' }, 400, 'badRequest'],
    ['an invalid instance ID', { path: 'projects/p/zones/z/instances/0x17' }, 400, 'invalid'],
    ['an unknown project', { path: 'projects/elsewhere/aggregated/instances' }, 404, 'notFound'],
    ['the wrong zone', { path: 'projects/identity-nonprod/zones/us-east1-b/instances/17' }, 404, 'notFound'],
    [
      'a page size of more than 500',
      { path: 'projects/identity-nonprod/aggregated/instances?maxResults=501' },
      400,
      'invalid',
    ],
    ['a missing fingerprint', { path: 'VM/setMetadata', body: { items: [] } }, 412, 'conditionNotMet'],
    [
      'a stale fingerprint',
      { path: 'VM/setMetadata', body: { items: [], fingerprint: 'x=' } },
      412,
      'conditionNotMet',
    ],
    ['an unknown field', { path: 'VM/setMetadata', body: { entries: [] } }, 400, 'badRequest'],
    [
      'an invalid metadata key',
      { path: 'VM/setMetadata', body: { items: [{ key: 'a b', value: '' }] } },
      400,
      'invalid',
    ],
    [
      'a duplicate metadata key',
      { path: 'VM/setMetadata', body: { items: ['', ''].map((value) => ({ key: 'a', value })) } },
      400,
      'invalid',
    ],
    [
      'a metadata value that is too long',
      { path: 'VM/setMetadata', body: { items: [{ key: 'a', value: 'x'.repeat(262_145) }] } },
      400,
      'invalid',
    ],
    ['an invalid request ID', { path: 'VM/setMetadata?requestId=1', body: { items: [] } }, 400, 'invalid'],
    ['a missing label fingerprint', { path: 'VM/setLabels', body: { labels: {} } }, 412, 'conditionNotMet'],
    [
      'a stale label fingerprint',
      { path: 'VM/setLabels', body: { labels: {}, labelFingerprint: 'x=' } },
      412,
      'conditionNotMet',
    ],
    ['missing labels', { path: 'VM/setLabels', body: { labelFingerprint: 'x=' } }, 400, 'invalid'],
    ['an invalid label key', { path: 'VM/setLabels', body: { labels: { 'a:b': '' } } }, 400, 'invalid'],
    ['an invalid label value', { path: 'VM/setLabels', body: { labels: { a: 'A' } } }, 400, 'invalid'],
    [
      'more than 64 labels',
      {
        path: 'VM/setLabels',
        body: { labels: Object.fromEntries([...Array(65).keys()].map((n) => [`a${n}`, ''])) },
      },
      400,
      'invalid',
    ],
    ['a reset with a body', { path: 'VM/reset', body: { force: true } }, 400, 'badRequest'],
    [
      'an unknown operation',
      { path: 'projects/identity-nonprod/zones/europe-west1-c/operations/operation-1' },
      404,
      'notFound',
    ],
    [
      'an unsupported filter',
      { path: 'projects/identity-nonprod/global/routes?filter=network%20eq%20vpc-b' },
      400,
      'invalid',
    ],
    [
      'an unknown router',
      { path: 'projects/identity-nonprod/regions/europe-west1/routers/r1/getRouterStatus' },
      404,
      'notFound',
    ],
    [
      'a query for guest attributes that do not exist',
      { path: 'VM/getGuestAttributes?queryPath=peermasq/' },
      404,
      'notFound',
    ],
  ])('rejects %s', async (_, given, status, reason) => {
    expect(await call(given)).toEqual({
      status,
      answer: {
        error: {
          code: status,
          message: expect.any(String) as unknown,
          errors: [expect.objectContaining({ reason }) as unknown],
        },
      },
    });
    expect(vm.metadata).toEqual([{ key: 'there', value: 'before' }]);
  });

  test('applies a valid change through an operation that takes some time', async () => {
    const body = { items: [{ key: 'there', value: 'after' }], fingerprint: await fingerprint() };
    const { answer } = await call({ path: 'VM/setMetadata', body });
    expect(answer).toMatchObject({ status: 'RUNNING' });
    const { name } = z.object({ name: z.string() }).parse(answer);
    const path = `projects/${vm.project}/zones/${vm.zone}/operations/${name}/wait`;
    expect(await call({ path, body: {} })).toMatchObject({ answer: { status: 'DONE' } });
    expect(vm.metadata).toEqual(body.items);
    expect(await fingerprint()).not.toBe(body.fingerprint);
  });

  test('stops waiting for a slow operation before the operation has ended', async () => {
    const { operationMs, maxOperationWaitMs } = lab.cloud;
    Object.assign(lab.cloud, { operationMs: 60_000, maxOperationWaitMs: 5 });
    const { answer } = await call({ path: 'VM/reset', body: {} });
    const path = `${at(operationOf(answer))}/wait`;
    expect(await call({ path, body: {} })).toMatchObject({ answer: { status: 'RUNNING' } });
    Object.assign(lab.cloud, { operationMs, maxOperationWaitMs });
  });
});

const operationOf = (answer: unknown) => z.object({ name: z.string() }).parse(answer).name;
const at = (name: string) => `projects/${vm.project}/zones/${vm.zone}/operations/${name}`;

test('a request with a repeated ID returns the earlier operation and changes nothing', async () => {
  const requestId = 'd9b1c9a4-1f0a-4c3e-9d55-0a5a2c1f7e10';
  const path = `VM/setMetadata?requestId=${requestId}`;
  const items = [{ key: 'there', value: 'once' }];
  const body = { items, fingerprint: await fingerprint() };
  const { answer } = await call({ path, body });
  expect(operationOf((await call({ path, body })).answer)).toBe(operationOf(answer));
  expect(vm.metadata).toEqual(items);
});

test('a request with the current label fingerprint sets the labels', async () => {
  const fingerprintOfLabels = async () => {
    const { answer } = await call({ path: 'VM' });
    return z.object({ labelFingerprint: z.string() }).parse(answer).labelFingerprint;
  };
  const labelFingerprint = await fingerprintOfLabels();
  const body = { labels: { 'peermasq-status': 'proven-0123456789ab-1795295818' }, labelFingerprint };
  expect(await call({ path: 'VM/setLabels', body })).toMatchObject({ status: 200 });
  expect(vm.labels).toEqual(body.labels);
  expect(await fingerprintOfLabels()).not.toBe(labelFingerprint);
});

describe('resetting a VM', () => {
  const reset = () => call({ path: 'VM/reset', body: {} });
  const long = '2026-11-21T10:00:00.000Z';

  test('reboots a running VM and updates its start time', async () => {
    const resets: LabVm[] = [];
    lab.cloud.changes.on('reset', (which: LabVm) => resets.push(which));
    vm.lastStartTimestamp = long;
    const { answer } = await reset();
    expect(await call({ path: at(operationOf(answer)) })).toMatchObject({
      answer: { operationType: 'reset' },
    });
    expect(resets).toEqual([vm]);
    expect(vm.status).toBe('RUNNING');
    expect(Date.parse(vm.lastStartTimestamp)).toBeGreaterThan(Date.parse(long));
  });

  test('keeps the start time if the lab is configured that way', async () => {
    lab.cloud.keepsStartOnReset = true;
    vm.lastStartTimestamp = long;
    await reset();
    expect(vm.lastStartTimestamp).toBe(long);
  });

  test('is rejected if the VM is not running', async () => {
    vm.status = 'TERMINATED';
    expect(await reset()).toMatchObject({
      status: 400,
      answer: { error: { errors: [{ reason: 'resourceNotReady' }] } },
    });
    vm.status = 'RUNNING';
  });
});

describe('reading guest attributes', () => {
  const path = 'VM/getGuestAttributes?queryPath=peermasq/';

  test.each([
    [{}, {}, 404],
    [{ 'enable-guest-attributes': 'TRUE' }, {}, 200],
    [{}, { 'enable-guest-attributes': 'true' }, 200],
    [{ 'enable-guest-attributes': 'FALSE' }, { 'enable-guest-attributes': 'TRUE' }, 404],
  ])(
    'with the setting %j on the instance and %j on the project returns status %d',
    async (own, common, status) => {
      const items = (given: object) =>
        Object.entries(given as Record<string, string>).map(([key, value]) => ({ key, value }));
      const project = { number: '415104041262', metadata: items(common) };
      lab.cloud.projects['guests'] = project;
      const guest = addVm(lab.cloud, {
        project: 'guests',
        metadata: items(own),
        guestAttributes: { 'peermasq/status': '{}' },
      });
      const { zone, id } = guest;
      expect(
        await call({ path: path.replace('VM', `projects/guests/zones/${zone}/instances/${id}`) }),
      ).toMatchObject({ status });
    },
  );
});

describe('the routes of a network', () => {
  const project = 'identity-nonprod';

  test('are listed page by page', async () => {
    lab.cloud.routes.push(
      { project, name: 'a', network: 'vpc-a', destRange: '192.168.1.0/24', nextHopIp: '10.0.0.1' },
      { project, name: 'b', network: 'vpc-b', destRange: '192.168.2.0/24', nextHopVpnTunnel: 'tunnel-b' },
      {
        project,
        name: 'c',
        network: 'vpc-b',
        destRange: '192.168.3.0/24',
        nextHopPeering: 'to-a',
        tags: ['x'],
      },
    );
    const filter = encodeURIComponent(`network = "${networkUrl(project, 'vpc-b')}"`);
    const path = `projects/${project}/global/routes?maxResults=1&filter=${filter}`;
    const { answer } = await call({ path });
    expect(answer).toMatchObject({ items: [{ name: 'b', priority: 1000 }], nextPageToken: 'page-1' });
    expect(await call({ path: `${path}&pageToken=page-1` })).toEqual({
      status: 200,
      answer: {
        kind: 'compute#routeList',
        items: [expect.objectContaining({ name: 'c', network: networkUrl(project, 'vpc-b'), tags: ['x'] })],
      },
    });
  });

  test('include the routes in effect in a region and the routes that a router learned', async () => {
    const learned = { destRange: '192.168.40.0/24', nextHopVpnTunnel: 'tunnel-b', priority: 100 };
    const dropped = { ...learned, destRange: '192.168.41.0/24', routeStatus: 'DROPPED' as const };
    const router = { project, region: 'europe-west1', name: 'r2', network: 'vpc-b' };
    lab.cloud.routers.push({ ...router, bestRoutes: [learned], bestRoutesForRouter: [learned, dropped] });
    expect(await call({ path: `projects/${project}/aggregated/routers` })).toMatchObject({
      answer: { items: { 'regions/europe-west1': { routers: [{ name: 'r2' }] } } },
    });
    expect(
      await call({ path: `projects/${project}/regions/europe-west1/routers/r2/getRouterStatus` }),
    ).toMatchObject({
      answer: { result: { bestRoutes: [learned], bestRoutesForRouter: [learned, dropped] } },
    });
  });
});

describe('the rate quota', () => {
  const target = { project: 'p', zone: 'europe-west1-c', instance: '1' };

  test.each([
    ['compute.instances.get', 1_500],
    ['compute.instances.setMetadata', 1_500],
    ['compute.instances.aggregatedList', 750],
    ['compute.zoneOperations.wait', 750],
  ])('for %s is %d calls per minute, and is reset at the start of each minute', (method, perMinute) => {
    let now = 59_000;
    const rateLimits = makeRateLimits(() => now);
    const taken = () => {
      let count = 0;
      while (!rateLimits.take(method, target)) count += 1;
      return count;
    };
    expect(taken()).toBe(perMinute);
    now = 60_000;
    expect(taken()).toBe(perMinute);
    expect(rateLimits.callsOverLimit).toBe(2);
  });

  test('applies to each region separately, and counts reads of guest attributes as writes', () => {
    const rateLimits = makeRateLimits(() => 0);
    for (let n = 0; n < 1_500; n++)
      rateLimits.take('compute.instances.getGuestAttributes', { ...target, instance: String(n) });
    expect(rateLimits.take('compute.instances.setLabels', target)).toMatchObject({ metric: 'Queries' });
    expect(rateLimits.take('compute.instances.setLabels', { ...target, zone: 'us-east1-b' })).toBeUndefined();
    expect(rateLimits.callsOverLimit).toBe(1);
  });

  test('for guest attributes is 10 reads per minute for each VM; further reads succeed but are counted', () => {
    const rateLimits = makeRateLimits(() => 0);
    for (let n = 0; n < 12; n++)
      expect(rateLimits.take('compute.instances.getGuestAttributes', target)).toBeUndefined();
    expect(rateLimits.callsOverLimit).toBe(2);
  });

  test("makes the cloud reject excess calls with the real API's error", async () => {
    const rateLimits = enableRateLimits(lab.cloud);
    const path = `projects/${vm.project}/aggregated/instances`;
    for (let n = 0; n < 2_000; n++)
      rateLimits.take('compute.instances.aggregatedList', { project: vm.project });
    const { status, answer } = await call({ path });
    expect({ status, answer }).toMatchObject({
      status: 403,
      answer: { error: { errors: [{ reason: 'rateLimitExceeded', domain: 'usageLimits' }] } },
    });
    expect(JSON.stringify(answer)).toContain("for consumer 'project_number:415104041262'");
    delete lab.cloud.rateLimits;
  });
});
