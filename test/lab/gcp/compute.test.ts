import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { z } from 'zod';
import { openGoogleCloud, type GoogleCloudLab } from './lab';
import { addVm, type Vm } from './state';

let lab: GoogleCloudLab;
let vm: Vm;

beforeAll(async () => {
  lab = await openGoogleCloud();
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
  return { status: response.status, answer: await response.json() };
}

const fingerprint = async () => {
  const { answer } = await call({ path: 'VM' });
  return z.object({ metadata: z.object({ fingerprint: z.string() }) }).parse(answer).metadata.fingerprint;
};

describe('the local Compute API refuses as the real one does', () => {
  test.each<[string, Given, number, string]>([
    ['a call without a token', { path: 'VM', token: '' }, 401, 'required'],
    ['an unknown method', { path: 'VM/attachDisk', body: {} }, 400, 'badRequest'],
    ['an unknown parameter', { path: 'VM?fingerprint=x' }, 400, 'badRequest'],
    ['an id that cannot be one', { path: 'projects/p/zones/z/instances/0x17' }, 400, 'invalid'],
    ['another project', { path: 'projects/elsewhere/aggregated/instances' }, 404, 'notFound'],
    ['another zone', { path: 'projects/identity-nonprod/zones/us-east1-b/instances/17' }, 404, 'notFound'],
    [
      'a page that is too long',
      { path: 'projects/identity-nonprod/aggregated/instances?maxResults=501' },
      400,
      'invalid',
    ],
    ['no fingerprint', { path: 'VM/setMetadata', body: { items: [] } }, 412, 'conditionNotMet'],
    [
      'a stale fingerprint',
      { path: 'VM/setMetadata', body: { items: [], fingerprint: 'x=' } },
      412,
      'conditionNotMet',
    ],
    ['an unknown field', { path: 'VM/setMetadata', body: { entries: [] } }, 400, 'badRequest'],
    ['a bad key', { path: 'VM/setMetadata', body: { items: [{ key: 'a b', value: '' }] } }, 400, 'invalid'],
    [
      'a key twice',
      { path: 'VM/setMetadata', body: { items: ['', ''].map((value) => ({ key: 'a', value })) } },
      400,
      'invalid',
    ],
    [
      'a value that is too long',
      { path: 'VM/setMetadata', body: { items: [{ key: 'a', value: 'x'.repeat(262_145) }] } },
      400,
      'invalid',
    ],
    [
      'a request id that is none',
      { path: 'VM/setMetadata?requestId=1', body: { items: [] } },
      400,
      'invalid',
    ],
    [
      'guest attributes that are not there',
      { path: 'VM/getGuestAttributes?queryPath=peermasq/' },
      404,
      'notFound',
    ],
  ])('%s', async (_, given, status, reason) => {
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

  test('and what is right, it does, by an operation that takes its time', async () => {
    const body = { items: [{ key: 'there', value: 'after' }], fingerprint: await fingerprint() };
    const { answer } = await call({ path: 'VM/setMetadata', body });
    expect(answer).toMatchObject({ status: 'RUNNING' });
    const { name } = z.object({ name: z.string() }).parse(answer);
    const path = `projects/${vm.project}/zones/${vm.zone}/operations/${name}/wait`;
    expect(await call({ path, body: {} })).toMatchObject({ answer: { status: 'DONE' } });
    expect(vm.metadata).toEqual(body.items);
    expect(await fingerprint()).not.toBe(body.fingerprint);
  });
});
