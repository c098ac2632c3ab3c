import { describe, expect, test } from '@jest/globals';
import type { LabFunction } from '../../lab/gcp/function';
import { callsOf } from '../../lab/gcp/state';
import { FunctionHarness, goodConfig, report } from './harness';

const lab = new FunctionHarness('backfill');

async function send({ url }: Pick<LabFunction, 'url'>, init: RequestInit) {
  const response = await fetch(url, init);
  return { status: response.status, answer: (await response.json()) as unknown };
}

const post = (target: Pick<LabFunction, 'url'>, body: unknown) =>
  send(target, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });

describe('the function backfill', () => {
  test('changes nothing in a dry run, then pushes rule sets and reports which nodes are proven', async () => {
    const backfill = lab.useFunction();
    const vm = lab.addBusyNode();
    expect(await post(backfill, { dryRun: true })).toMatchObject({
      status: 200,
      answer: {
        counts: { planned: 1 },
        nodes: [{ node: `gcp:${vm.id}`, isChange: true }],
      },
    });
    expect(callsOf(lab.google.cloud, 'compute.instances.setMetadata')).toBe(0);
    expect(await post(backfill, {})).toMatchObject({ status: 200, answer: { counts: { pending: 1 } } });
    report(vm);
    expect(await post(backfill, {})).toMatchObject({ status: 200, answer: { counts: { proven: 1 } } });
  });

  test('lists nodes in the project of its credentials if PEERMASQ_PROJECTS is not set', async () => {
    const vm = lab.addNode();
    expect(await post(await lab.startDedicated({}), { dryRun: true })).toMatchObject({
      answer: { nodes: [{ node: `gcp:${vm.id}`, outcome: 'planned' }] },
    });
  });

  test('rejects a query string, so that a request with ?dryRun=true does not push', async () => {
    const backfill = lab.useFunction();
    lab.addNode();
    expect(await post({ url: `${backfill.url}?dryRun=true` }, {})).toMatchObject({
      status: 400,
      answer: { code: 'bad-request', error: expect.stringContaining('query string') },
    });
    expect(lab.google.cloud.calls).toEqual([]);
  });

  test('rejects a GET request', async () => {
    const backfill = lab.useFunction();
    expect(await send(backfill, { method: 'GET' })).toEqual({ status: 405, answer: { error: 'Use POST.' } });
    expect(lab.google.cloud.calls).toEqual([]);
  });

  test('rejects an unknown field and names it in the error', async () => {
    const backfill = lab.useFunction();
    expect(await post(backfill, { cluster: 'frontend' })).toMatchObject({
      status: 400,
      answer: { code: 'bad-request', error: expect.stringContaining('cluster') },
    });
    expect(lab.google.cloud.calls).toEqual([]);
  });

  test('names a missing permission in the error, and logs the error only once', async () => {
    lab.google.cloud.injectedErrors.push({
      method: 'compute.instances.aggregatedList',
      kind: 'permission',
      times: Infinity,
    });
    const backfill = await lab.startDedicated();
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

  test('exits at startup if a setting is invalid, and prints the setting', async () => {
    const settings = { PEERMASQ_INVOCATION_SECONDS: 'soon' };
    await expect(lab.start(goodConfig, settings)).rejects.toThrow(
      /invalid value "soon": expected a number above 5[^]*PEERMASQ_INVOCATION_SECONDS/,
    );
  });
});
