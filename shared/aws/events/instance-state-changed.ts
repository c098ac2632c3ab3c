import * as z from 'zod';
import { ignored, instanceIdSchema, nodesJoined, type Envelope, type ParsedEvent } from './event';

const detailSchema = z.object({ 'instance-id': instanceIdSchema, state: z.string() });

/** `aws.ec2`: `EC2 Instance State-change Notification` */
export function parseInstanceStateChanged(event: Envelope): ParsedEvent {
  const { 'instance-id': id, state } = detailSchema.parse(event.detail);
  return state === 'running'
    ? nodesJoined(event, 'instance-running', [id])
    : ignored(`${id} is ${state}, not running`);
}
