import * as z from 'zod';
import { ignored, instanceIdSchema, nodesJoined, type EventParser, type NodesJoined } from './event';

const detailSchema = z.object({ 'instance-id': instanceIdSchema, state: z.string() });

export const instanceStateChanged: EventParser<NodesJoined> = {
  source: 'aws.ec2',
  detailType: 'EC2 Instance State-change Notification',
  parse(event) {
    const { 'instance-id': id, state } = detailSchema.parse(event.detail);
    return state === 'running'
      ? nodesJoined(event, 'instance-running', [id])
      : ignored(`${id} is ${state}, not running`);
  },
};
