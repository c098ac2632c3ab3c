import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { startLocalGcp, type LocalGcp } from './cloud';
import type { MetadataServer } from './metadata-server';
import { addVm, setMetadata, type LabVm } from './state';

let lab: LocalGcp;
let vm: LabVm;
let server: MetadataServer;

beforeAll(async () => {
  lab = await startLocalGcp();
  vm = addVm(lab.cloud, { metadata: [{ key: 'colour', value: 'blue' }] });
  server = await lab.metadataServer(vm);
});
afterAll(() => lab.close());

async function fetchMetadata(path: string, init: RequestInit = { headers: { 'Metadata-Flavor': 'Google' } }) {
  const response = await fetch(`http://${server.address}/computeMetadata/v1/${path}`, init);
  const etag = response.headers.get('etag') ?? '';
  return { status: response.status, text: await response.text(), etag };
}

const put = (path: string, body: string) =>
  fetchMetadata(path, { method: 'PUT', body, headers: { 'Metadata-Flavor': 'Google' } });

describe('the local metadata server', () => {
  test.each([
    ['instance/attributes/colour', 200, 'blue'],
    ['instance/attributes/', 200, 'colour\n'],
    ['instance/attributes/?recursive=true&alt=json', 200, '{"colour":"blue"}'],
    ['project/attributes/?recursive=true', 200, '{}'],
    ['project/project-id', 200, 'identity-nonprod'],
    ['instance/attributes/shape', 404, 'Not Found\n'],
    ['instance/attributes/shape?wait_for_change=true', 404, 'Not Found\n'],
  ])('responds to %s with %s', async (path, status, text) => {
    expect(await fetchMetadata(path)).toMatchObject({ status, text });
  });

  test('rejects requests that lack Metadata-Flavor or come through a proxy', async () => {
    const forwarded = { 'Metadata-Flavor': 'Google', 'X-Forwarded-For': '10.0.0.1' };
    expect(await fetchMetadata('instance/id', {})).toMatchObject({ status: 403 });
    expect(await fetchMetadata('instance/id', { headers: forwarded })).toMatchObject({ status: 403 });
  });

  const waiting = (etag: string, seconds: number) =>
    fetchMetadata(`instance/attributes/colour?wait_for_change=true&last_etag=${etag}&timeout_sec=${seconds}`);

  test('waits for a change to the requested value, and ignores other changes', async () => {
    const { etag } = await fetchMetadata('instance/attributes/colour');
    const before = server.requests.length;
    const answer = waiting(etag, 10);
    while (!server.requests.slice(before).includes('GET instance/attributes/colour'))
      await fetchMetadata('instance/id');
    setMetadata(lab.cloud, vm, 'shape', 'round');
    await fetchMetadata('instance/id');
    setMetadata(lab.cloud, vm, 'colour', 'green');
    expect(await answer).toMatchObject({ status: 200, text: 'green' });
  });

  test('responds immediately to an old etag, and with the unchanged value after a timeout', async () => {
    expect(await waiting('0', 10)).toMatchObject({ text: 'green' });
    const { etag } = await fetchMetadata('instance/attributes/colour');
    expect(await waiting(etag, 0.1)).toMatchObject({ text: 'green', etag });
  });

  test('accepts guest attributes only if they are enabled', async () => {
    const path = 'instance/guest-attributes/peermasq/status';
    expect(await put(path, 'proven')).toMatchObject({ status: 403 });
    setMetadata(lab.cloud, vm, 'enable-guest-attributes', 'TRUE');
    expect(await put(path, 'proven')).toMatchObject({ status: 200 });
    expect(await fetchMetadata(path)).toMatchObject({ text: 'proven' });
    expect(vm.guestAttributes).toEqual({ 'peermasq/status': 'proven' });
    expect(await put(path, 'x'.repeat(32 * 1024 + 1))).toMatchObject({ status: 413 });
    const remove = { method: 'DELETE', headers: { 'Metadata-Flavor': 'Google' } };
    expect(await fetchMetadata(path, remove)).toMatchObject({ status: 200 });
    expect(await fetchMetadata(path, remove)).toMatchObject({ status: 404 });
    expect(await put('instance/attributes/colour', 'red')).toMatchObject({ status: 405 });
  });
});
