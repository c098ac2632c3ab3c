import * as z from 'zod';
import { PermanentError } from '../../../shared/core/model/errors';

const settingsSchema = z
  .object({
    PEERMASQ_OBJECTIVE_MINUTES: z.coerce.number().positive().default(10),
    PEERMASQ_LAUNCH_GATE: z.enum(['off', 'continue', 'abandon']).default('off'),
    PEERMASQ_MEMBER_ACCOUNTS: z
      .string()
      .regex(/^( *[0-9]{12} *(,|$))*$/)
      .default(''),
    PEERMASQ_QUEUE: z.url().optional(),
    PEERMASQ_DEAD_LETTERS: z.url().optional(),
  })
  .transform((env) => ({
    /**
     * The time within which a node should be proven; after this time, events about the node are no longer retried.
     */
    objectiveMs: env.PEERMASQ_OBJECTIVE_MINUTES * 60_000,
    /** How to complete the launch of a held instance whose node is not proven. */
    launchGate: env.PEERMASQ_LAUNCH_GATE,
    /** The accounts whose nodes are managed, in addition to the function's own account. */
    memberAccounts: env.PEERMASQ_MEMBER_ACCOUNTS.split(',')
      .map((id) => id.trim())
      .filter(Boolean),
    /** The queue that triggers the function. */
    queueUrl: env.PEERMASQ_QUEUE,
    deadLetterQueueUrl: env.PEERMASQ_DEAD_LETTERS,
  }));

type AwsSettings = z.output<typeof settingsSchema>;

/** @throws PermanentError that lists every invalid variable */
export function readSettings(env: Readonly<Record<string, string | undefined>>): AwsSettings {
  const read = settingsSchema.safeParse(env);
  if (read.success) return read.data;
  throw new PermanentError('bad-setting', `invalid environment variables: ${z.prettifyError(read.error)}`, {
    advice: 'Deploy again, or set the variables as serverless.yml does.',
  });
}
