import * as z from 'zod';
import { ignored, instanceIdSchema, nodesJoined, type Envelope, type ParsedEvent } from './event';

const responseSchema = z.object({
  responseElements: z
    .object({
      instancesSet: z.object({ items: z.array(z.object({ instanceId: instanceIdSchema })).min(1) }),
    })
    .nullish(),
});

/** A successful call of RunInstances, which may start many instances. */
export function parseRunInstances(event: Envelope): ParsedEvent {
  const { responseElements } = responseSchema.parse(event.detail);
  if (!responseElements) return ignored('RunInstances has no response: no instance was started');
  const ids = responseElements.instancesSet.items.map(({ instanceId }) => instanceId);
  return nodesJoined(event, 'run-instances', ids);
}
