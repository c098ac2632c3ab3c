import * as z from 'zod';
import { apiCallParser, ignored, instanceIdSchema, nodesJoined, type NodesJoined } from './event';

const detailSchema = z.object({
  responseElements: z
    .object({
      instancesSet: z.object({ items: z.array(z.object({ instanceId: instanceIdSchema })).min(1) }),
    })
    .nullish(),
});

/** One RunInstances call may start many instances. */
export const runInstances = apiCallParser<NodesJoined>(['RunInstances'], (event) => {
  const { responseElements } = detailSchema.parse(event.detail);
  if (!responseElements) return ignored('RunInstances has no response: no instance was started');
  const ids = responseElements.instancesSet.items.map(({ instanceId }) => instanceId);
  return nodesJoined(event, 'run-instances', ids);
});
