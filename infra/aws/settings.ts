import * as z from 'zod';

const expected = (what: string) => ({
  error: ({ input }: { input?: unknown }) => `invalid value ${JSON.stringify(input)}: expected ${what}`,
});

/** A number of minutes. A value from `--param` is a string; a value from serverless.yml may be a number. */
const minutes = (least: number, most: number) => {
  const range = expected(`whole minutes from ${least} to ${most}`);
  return z.coerce.number(range).int(range).min(least, range).max(most, range);
};

const stringMatching = (pattern: RegExp, what: string) =>
  z.string(expected(what)).regex(pattern, expected(what));

export const accountId = stringMatching(/^[0-9]{12}$/, 'an account ID of 12 digits');

const accountIds = z
  .string(expected('quoted, comma-separated account IDs'))
  .transform((text) => text.split(',').map((id) => id.trim()))
  .transform((ids) => ids.filter(Boolean))
  .pipe(z.array(accountId));

/**
 * The name of a stage, which is part of every resource name. Role names are the longest, and their limit of 64
 * characters leaves 20 characters for the stage.
 */
export const stageName = z
  .string()
  .regex(/^[a-z][a-z0-9-]{0,19}$/, expected('up to 20 characters of a-z, 0-9 and -'));

/** What to do with a launch whose node was not proven in time. `off` does not change launches. */
export const launchGate = z.enum(
  ['off', 'continue', 'abandon'],
  expected('off, continue or abandon, in quotes'),
);

/** The `params` of serverless.yml, and the settings of the functions. */
const settingsSchema = z.object({
  stage: stageName,
  alarmEmail: z.email(expected('an e-mail address')).or(z.literal('')),
  /** Messages are retried for this long. The limit is 12 hours, because SQS cannot hide a message for longer. */
  objectiveMinutes: minutes(1, 720),
  /** With an interval of less than 5 minutes, sweeps would overlap. */
  sweepMinutes: minutes(5, 60),
  launchGate,
  memberAccounts: accountIds,
  runbook: z.string().min(1),
  functions: z.record(
    z.string().regex(/^[a-z]+(-[a-z]+)*$/),
    z.object({
      /** The timeout in seconds. */
      timeout: z.number(),
      events: z
        .array(z.object({ sqs: z.object({ maximumBatchingWindow: z.number() }).optional() }))
        .default([]),
    }),
  ),
});

export type Settings = z.output<typeof settingsSchema>;

/** @throws Error that lists every invalid value and the expected values */
export function parseSettings(read: unknown): Settings {
  const result = settingsSchema.safeParse(read);
  if (result.success) return result.data;
  throw new Error(`Invalid parameters in serverless.yml:\n${z.prettifyError(result.error)}`);
}

type Stage = Pick<Settings, 'stage'>;

/** Returns the name of the stack. Some resources have the same name; all other names have a suffix. */
export const stackName = ({ stage }: Stage): string => `peermasq-${stage}`;

export const resourceName = (settings: Stage, name: string): string => `${stackName(settings)}-${name}`;

/** Returns the name of a function's role, for `Fn::Sub`. Roles are global, so the name contains the region. */
export const roleName = (settings: Stage, name: string): string =>
  resourceName(settings, `\${AWS::Region}-${name}`);
