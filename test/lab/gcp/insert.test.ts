import { expect, test } from '@jest/globals';
import { once } from 'node:events';
import * as z from 'zod';
import { asPubsub, insertEvent, peeringEvent } from './events';
import { insertVm } from './insert';
import { makeGcpState } from './state';

test('an insert sends its first event before the VM is visible, and shows the VM before it is ready', async () => {
  const cloud = makeGcpState();
  const { vm, first, last } = insertVm(cloud, { name: 'gke-1' }, { visibleAfterMs: 20, readyAfterMs: 20 });
  const running = once(cloud.changes, 'running');
  expect(first).toMatchObject({ data: { operation: { first: true } } });
  expect(cloud.vms).toEqual([]);
  while (cloud.vms.length === 0) await new Promise(setImmediate);
  expect(vm).toMatchObject({ status: 'PROVISIONING', isReady: false });
  expect(vm.lastStartTimestamp).toBeUndefined();
  expect(await running).toEqual([vm]);
  expect(vm).toMatchObject({ status: 'RUNNING', isReady: true });
  expect(Date.parse(vm.lastStartTimestamp ?? '')).toBeGreaterThanOrEqual(
    Date.parse(vm.creationTimestamp ?? ''),
  );
  expect(await last).toMatchObject({
    data: { operation: { last: true }, resource: { labels: { instance_id: vm.id } } },
  });
});

test('a log sink exports the same audit log entry that Eventarc delivers', () => {
  const { vm } = insertVm(makeGcpState());
  const messageSchema = z.object({
    type: z.literal('google.cloud.pubsub.topic.v1.messagePublished'),
    data: z.object({ message: z.object({ data: z.base64() }) }),
  });
  for (const event of [insertEvent(vm, 'first'), peeringEvent('p', 'vpc-b', 'addPeering', 'last')]) {
    const { message } = messageSchema.parse(asPubsub(event)).data;
    expect(JSON.parse(Buffer.from(message.data, 'base64').toString())).toEqual(event['data']);
  }
});
