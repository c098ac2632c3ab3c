import { z } from 'zod';

const accepted = (what: string) => ({
  error: ({ input }: { input?: unknown }) => `read ${JSON.stringify(input)}; accepted ${what}`,
});

/** A value from `--param` is text, one from serverless.yml may be a number. */
const minutes = (least: number, most: number) => {
  const range = accepted(`are whole minutes from ${least} to ${most}`);
  return z.coerce.number(range).int(range).min(least, range).max(most, range);
};

/** Part of every name, the longest of which may have 64 characters. */
const stageName = z.string().regex(/^[a-z][a-z0-9-]{0,19}$/, accepted('are up to 20 of a-z, 0-9 and -'));

/** What serverless.yml calls `params`, and what the functions in it say about themselves. */
const settingsSchema = z.object({
  stage: stageName,
  alarmEmail: z.email(accepted('is an e-mail address')).or(z.literal('')),
  /** In less than 5 one sweep would run into the next. */
  sweepMinutes: minutes(5, 60),
  runbook: z.string().min(1),
  functions: z.record(
    z.string().regex(/^[a-z]+(-[a-z]+)*$/),
    z.object({
      /** Seconds. */
      timeout: z.number(),
      events: z
        .array(z.object({ sqs: z.object({ maximumBatchingWindow: z.number() }).optional() }))
        .default([]),
    }),
  ),
});

export type Settings = z.output<typeof settingsSchema>;

/** @throws Error that says for every fault what was read and what is accepted */
export function parseSettings(read: unknown): Settings {
  const result = settingsSchema.safeParse(read);
  if (result.success) return result.data;
  throw new Error(`The parameters of serverless.yml are not usable:\n${z.prettifyError(result.error)}`);
}

type Stage = Pick<Settings, 'stage'>;

/** The stack, and what there is one of in it. Everything else has a name of its own behind it. */
export const stackName = ({ stage }: Stage): string => `peermasq-${stage}`;

export const named = (settings: Stage, name: string): string => `${stackName(settings)}-${name}`;
