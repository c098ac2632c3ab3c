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
    /** How long a node may take to be proven; what takes longer is given up. */
    objectiveMs: env.PEERMASQ_OBJECTIVE_MINUTES * 60_000,
    /** What becomes of a launch whose node was given up. */
    launchGate: env.PEERMASQ_LAUNCH_GATE,
    /** Accounts that are served beside the function's own. */
    memberAccounts: env.PEERMASQ_MEMBER_ACCOUNTS.split(',')
      .map((id) => id.trim())
      .filter(Boolean),
    /** URLs: of the queue that feeds the function, and of the one for what cannot be dealt with. */
    queueUrl: env.PEERMASQ_QUEUE,
    deadLetterQueueUrl: env.PEERMASQ_DEAD_LETTERS,
  }));

export type AwsSettings = z.output<typeof settingsSchema>;

/** @throws PermanentError that names every variable that is wrong */
export function readSettings(env: Readonly<Record<string, string | undefined>>): AwsSettings {
  const read = settingsSchema.safeParse(env);
  if (read.success) return read.data;
  throw new PermanentError(
    'bad-setting',
    `The environment is not what serverless.yml sets: ${z.prettifyError(read.error)}`,
    'Deploy again, or set the variables named as serverless.yml does.',
  );
}
