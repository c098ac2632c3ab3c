import * as z from 'zod';
import { messageOf, PermanentError } from './errors';

/** What the node program prints: one line of JSON (shared/node/src, `apply` and `repair`). */
const reportSchema = z.object({
  result: z.enum(['applied', 'unchanged', 'refused', 'failed', 'busy']),
  proven: z.boolean(),
  id: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .nullable(),
  /** The rule set that this report answers, where it is another one than that in force (`id`). */
  offered: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .optional(),
  generation: z.number().int().nonnegative().nullable(),
  backend: z.enum(['iptables-nft', 'iptables-legacy', 'nft']).nullable(),
  reason: z.string().max(1000).optional(),
  rules: z.number().int().nonnegative(),
  flushed: z.number().int().nonnegative(),
  persisted: z.enum(['systemd', 'runtime', 'no']),
  warnings: z.array(z.string().max(1000)),
  probes: z.array(z.object({ to: z.string(), from: z.string(), reached: z.boolean() })),
  /** When the node booted, in seconds since the epoch. */
  booted: z.number().int().nonnegative().optional(),
});

export type Report = Readonly<z.infer<typeof reportSchema>>;

/**
 * What the cloud's mirror says of a node. `isProven` only if nothing was pushed to it since, and it was not
 * started again since.
 */
export interface RecordedState {
  readonly ruleSetId: string;
  readonly isProven: boolean;
  /** Of the record, where the cloud keeps that. */
  readonly at?: Date;
  /** How many discovered routes the rule set was made from, where the cloud keeps that. */
  readonly routes?: number;
  /** It was read from the node just now, and the cloud's mirror does not say it yet. */
  readonly isUnrecorded?: boolean;
}

/** @throws PermanentError when the text is not a report: some other program answered. */
export function parseReport(text: string): Report {
  try {
    return reportSchema.parse(JSON.parse(text));
  } catch (cause) {
    throw new PermanentError(
      'unreadable-report',
      `The node answered ${JSON.stringify(text.slice(0, 200))}, which is not a peermasq report: ${describeError(cause)}`,
      'Look at the command output on the node; a report is the single line of JSON that `peermasq.sh apply` prints.',
      cause,
    );
  }
}

/** One line: it stands in tables and in logs. */
const describeError = (cause: unknown): string =>
  cause instanceof z.ZodError
    ? cause.issues.map(({ path, message }) => [...path, message].join(': ')).join('; ')
    : messageOf(cause);
