import * as z from 'zod';
import { messageOf, PermanentError } from './errors';

const id = z.string().regex(/^[0-9a-f]{64}$/);
const count = z.number().int().nonnegative();
const text = z.string().max(1000);

/**
 * Why applied rules are not proven, or a rule set is refused. Later versions of the node program may send other reasons.
 */
export const reasonCodes = [
  /** Packets from pods leave with an address that the peer cannot reply to. */
  'paths-foreign-address',
  'paths-unknown',
  /** On a node without nft, another program's rule may keep pods' packets from being steered. */
  'steering-bypassed',
  'no-forwarding',
  'rp-filter',
  /** Packets from pods are masqueraded in eBPF and never reach the rules. */
  'ebpf',
  /** BPF programs are present, and the node program cannot determine what they do. */
  'ebpf-unreadable',
  /** The node program cannot enter the network namespace of a pod. */
  'no-namespace',
  'probe-failed',
  /** A probe from a pod was inconclusive: it is unknown whether the peer responds. */
  'probe-unknown',
  'drift',
  /** The rule set that was sent is from the future, or the one in force is, so that every newer one is refused. */
  'clock-skew',
] as const;
export type ReasonCode = (typeof reasonCodes)[number];

/**
 * A field that explains the verdict. Early versions of the node program do not send these fields. If a later version
 * sends a value of another type, the field is ignored and the verdict remains valid.
 */
const detail = <T extends z.ZodType>(schema: T) => schema.optional().catch(undefined);

/** The path from one pod to a destination, as returned by the kernel. */
const path = z.object({
  /** The pod's address. Null if the rule set has no sources and the node has no pods. */
  from: text.nullable(),
  to: text,
  dev: text,
  /** The source address with which packets leave the node. */
  address: text.nullable(),
  ok: z.boolean(),
});

/**
 * The number of source ports in use for connections to one destination, and the number that the kernel can use for
 * them.
 */
const portUse = z.object({ to: text, used: count, range: count.positive() });
export type PortUse = Readonly<z.infer<typeof portUse>>;

/** The percentage of source ports in use at which the node program warns and an alarm is raised. */
export const fewPortsLeftPercent = 70;

export const usedPercent = ({ used, range }: PortUse): number => Math.floor((100 * used) / range);

export const describePortUse = (use: PortUse): string =>
  `${usedPercent(use)} % of the node's source ports for ${use.to} are in use.`;

/** The line of JSON that the node program's commands `apply` and `repair` print (shared/node/src). */
const reportSchema = z.object({
  result: z.enum(['applied', 'unchanged', 'refused', 'failed', 'busy']),
  proven: z.boolean(),
  /** The rule set in force. */
  id: id.nullable(),
  /** The rule set that was sent to the node. Present only if it is not the rule set in force. */
  offered: id.optional(),
  generation: count.nullable(),
  backend: z.enum(['iptables-nft', 'iptables-legacy', 'nft']).nullable(),
  reason: text.optional(),
  rules: count,
  /** The number of stale connections that were flushed. */
  flushed: count,
  /** The unit that re-applies the rules at boot: a systemd unit, a unit in /run that a reboot removes, or none. */
  persisted: z.enum(['systemd', 'runtime', 'no']),
  warnings: z.array(text),
  /** `from` is null if the probe could not be sent, or if the node selected its source address. */
  probes: z.array(z.object({ to: z.string(), from: z.string().nullable(), reached: z.boolean() })),
  /** The node's boot time, in seconds since the epoch. */
  booted: count.optional(),
  /** The latest rule set format that the program can read. */
  format: detail(count.positive()),
  /** The first 12 hex digits of the program's sha256 hash. */
  program: detail(z.string().regex(/^[0-9a-f]{12}$/)),
  /** Whether packets from pods are steered to the primary interface. */
  steered: detail(z.boolean()),
  /** The evidence for `proven`, such as `rules` and `pods 3/3`. */
  basis: detail(z.array(text).max(6)),
  /** The reason why the rules are not proven, as a `ReasonCode`. */
  code: detail(text),
  paths: detail(z.array(path).max(4)),
  /** The destinations with the most connections. The destination with the fewest free source ports comes first. */
  ports: detail(z.array(portUse).max(3)),
});

export type Report = Readonly<z.infer<typeof reportSchema>>;

/**
 * Returns the latest rule set format that the program can read. Programs that do not report a format can read only the
 * first format.
 */
export const formatReadBy = ({ format = 1 }: Pick<Report, 'format'>): number => format;

/** @throws PermanentError if the text is not the output of the node program */
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

/** Formats the error on one line, for tables and logs. */
const describeError = (cause: unknown): string =>
  cause instanceof z.ZodError
    ? cause.issues.map(({ path, message }) => [...path, message].join(': ')).join('; ')
    : messageOf(cause);
