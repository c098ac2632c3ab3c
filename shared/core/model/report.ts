import * as z from 'zod';
import { messageOf, PermanentError } from './errors';

const id = z.string().regex(/^[0-9a-f]{64}$/);
const count = z.number().int().nonnegative();
const text = z.string().max(1000);

/** The line of JSON that the commands `apply` and `repair` of the node program print (shared/node/src). */
const reportSchema = z.object({
  result: z.enum(['applied', 'unchanged', 'refused', 'failed', 'busy']),
  proven: z.boolean(),
  /** The rule set in force. */
  id: id.nullable(),
  /** The rule set that the node was sent, if that is not the one in force. */
  offered: id.optional(),
  generation: count.nullable(),
  backend: z.enum(['iptables-nft', 'iptables-legacy', 'nft']).nullable(),
  reason: text.optional(),
  rules: count,
  /** How many stale connections were flushed. */
  flushed: count,
  /** What re-applies the rules at boot: a systemd unit, one in /run that a reboot removes, or nothing. */
  persisted: z.enum(['systemd', 'runtime', 'no']),
  warnings: z.array(text),
  probes: z.array(z.object({ to: z.string(), from: z.string(), reached: z.boolean() })),
  /** Boot time of the node, in seconds since the epoch. */
  booted: count.optional(),
});

export type Report = Readonly<z.infer<typeof reportSchema>>;

/** @throws PermanentError for any other text: the output is not from the node program */
export function parseReport(output: string): Report {
  try {
    return reportSchema.parse(JSON.parse(output));
  } catch (cause) {
    throw new PermanentError(
      'unreadable-report',
      `The node returned ${JSON.stringify(output.slice(0, 200))}, which is not a peermasq report: ${describeError(cause)}`,
      {
        advice:
          'Check the output of the command on the node. A report is the line of JSON that `peermasq.sh apply` prints.',
        cause,
      },
    );
  }
}

/** On one line, for tables and logs. */
const describeError = (cause: unknown): string =>
  cause instanceof z.ZodError
    ? cause.issues.map(({ path, message }) => [...path, message].join(': ')).join('; ')
    : messageOf(cause);
