import * as z from 'zod';
import {
  ignored,
  instanceIdSchema,
  nodeRef,
  timestampSchema,
  type CommandFinished,
  type EventParser,
} from './event';

const detailSchema = z.object({
  'command-id': z.uuid(),
  'instance-id': z.string(),
  'requested-date-time': timestampSchema,
  status: z.string(),
});

const inProgress = /^(Pending|Delayed|InProgress|Cancelling)$/;

export const commandFinished: EventParser<CommandFinished> = {
  source: 'aws.ssm',
  detailType: 'EC2 Command Invocation Status-change Notification',
  parse(event) {
    const { 'command-id': commandId, 'instance-id': id, status, ...rest } = detailSchema.parse(event.detail);
    if (inProgress.test(status)) return ignored(`command ${commandId} is ${status} on ${id}`);
    if (!instanceIdSchema.safeParse(id).success) return ignored(`${id} is not an EC2 instance`);
    const requestedAt = new Date(rest['requested-date-time']);
    return { kind: 'command-finished', node: nodeRef(event, id), commandId, requestedAt };
  },
};
