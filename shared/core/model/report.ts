import * as z from 'zod';
import { messageOf, PermanentError } from './errors';

const id = z.string().regex(/^[0-9a-f]{64}$/);
const count = z.number().int().nonnegative();
const text = z.string().max(1000);

/** Why rules that were applied are not proven. A later node program may send others. */
export const reasonCodes = [
  /** Pods' packets leave with an address that the peer cannot answer. */
  'paths-foreign-address',
  'paths-unknown',
  'no-forwarding',
  'rp-filter',
  /** Pods' packets are masqueraded in eBPF and do not reach the rules. */
  'ebpf',
  /** BPF programs are present, and the node cannot tell what they do. */
  'ebpf-unreadable',
  /** The network namespace of a pod cannot be entered. */
  'no-namespace',
  'probe-failed',
  /** A probe from a pod was inconclusive: the peer may or may not answer. */
  'probe-unknown',
  'drift',
] as const;
export type ReasonCode = (typeof reasonCodes)[number];

/**
 * A field that explains the verdict. Old node programs do not send it; if a later one sends something else there, the
 * verdict still counts.
 */
const detail = <T extends z.ZodType>(schema: T) => schema.optional().catch(undefined);

/** The path from one pod to a destination, as the kernel answered. */
const path = z.object({
  /** Null for a rule set without sources, on a node without pods. */
  from: text.nullable(),
  to: text,
  dev: text,
  /** The address that packets leave with. */
  address: text.nullable(),
  ok: z.boolean(),
});

/** Source ports that connections to one destination use, and how many the kernel has for them. */
const portUse = z.object({ to: text, used: count, range: count.positive() });
export type PortUse = Readonly<z.infer<typeof portUse>>;

/** From here on the node program warns, and alarms fire. */
export const fewPortsLeftPercent = 70;

export const usedPercent = ({ used, range }: PortUse): number => Math.floor((100 * used) / range);

export const describePortUse = (use: PortUse): string =>
  `${usedPercent(use)} % of the node's source ports for ${use.to} are in use.`;

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
  /** `from` is null if the probe could not be sent, or was sent from whichever address the node uses. */
  probes: z.array(z.object({ to: z.string(), from: z.string().nullable(), reached: z.boolean() })),
  /** Boot time of the node, in seconds since the epoch. */
  booted: count.optional(),
  /** The latest rule set format that the program reads. */
  format: detail(count.positive()),
  /** The first 12 hex digits of the program's sha256. */
  program: detail(z.string().regex(/^[0-9a-f]{12}$/)),
  /** Whether pods' packets are steered to the primary interface. */
  steered: detail(z.boolean()),
  /** What `proven` rests on, such as `rules` and `pods 3/3`. */
  basis: detail(z.array(text).max(6)),
  /** Why the rules are not proven: a `ReasonCode`. */
  code: detail(text),
  paths: detail(z.array(path).max(4)),
  /** Of the destinations with the most connections, the fullest first. */
  ports: detail(z.array(portUse).max(3)),
});

export type Report = Readonly<z.infer<typeof reportSchema>>;

/** The latest rule set format that the program reads. Programs that do not report it read the first. */
export const formatReadBy = ({ format = 1 }: Pick<Report, 'format'>): number => format;

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
