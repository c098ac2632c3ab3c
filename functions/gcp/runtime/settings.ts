import * as z from 'zod';
import { PermanentError } from '../../../shared/core/model/errors';

/** Time reserved at the end of an invocation for logs and the response. */
const reserveSeconds = 5;

const settingsSchema = z
  .object({
    PEERMASQ_PROJECTS: z.string().default(''),
    PEERMASQ_INVOCATION_SECONDS: z
      .string()
      .default('60')
      .refine((text) => Number.isFinite(Number(text)) && Number(text) > reserveSeconds, {
        error: ({ input }) =>
          `invalid value ${JSON.stringify(input)}: expected a number above ${reserveSeconds}`,
      }),
  })
  .transform((env) => ({
    /** The projects whose nodes are managed. If empty, the project of the function's credentials is used. */
    projects: env.PEERMASQ_PROJECTS.split(',')
      .map((id) => id.trim())
      .filter(Boolean),
    /** How long an invocation may work: the function's timeout, as set by Terraform, minus the reserve. */
    invocationMs: (Number(env.PEERMASQ_INVOCATION_SECONDS) - reserveSeconds) * 1_000,
  }));

type GcpSettings = z.output<typeof settingsSchema>;

/** @throws PermanentError that lists every invalid variable */
export function readSettings(env: Readonly<Record<string, string | undefined>>): GcpSettings {
  const read = settingsSchema.safeParse(env);
  if (read.success) return read.data;
  throw new PermanentError('bad-setting', `Invalid environment variables: ${z.prettifyError(read.error)}`, {
    advice: 'Deploy again, or set the variables as infra/gcp does.',
  });
}
