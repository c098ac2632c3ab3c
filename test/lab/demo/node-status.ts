import * as z from 'zod';
import { parseReport } from '../../../shared/core/model/report';
import type { Machine } from '../machine';
import type { NodeResult } from './scenario';

/** Returns peermasq's rules in table nat, as iptables-save prints them. */
export async function installedRules(node: Machine): Promise<string[]> {
  const { status, stdout, stderr } = await node.run(['iptables-save', '-t', 'nat']);
  if (status !== 0) throw new Error(`iptables-save exited with ${status}: ${stderr}`);
  return stdout.split('\n').filter((line) => line.startsWith('-A') && line.includes('PEERMASQ'));
}

const provenEntry = z.object({
  message: z.literal('NodeProven'),
  time: z.iso.datetime(),
  ruleSet: z.string(),
  report: z.unknown().optional(),
});

/**
 * Returns the log entry of the proven node.
 * @param sentAt when the node's event was sent, in milliseconds since the epoch
 * @throws Error with the whole log if no node was proven
 */
export function findProven(
  log: readonly unknown[],
  sentAt: number,
): Pick<NodeResult, 'eventToProvenMs' | 'ruleset' | 'proof'> {
  const entry = log.map((line) => provenEntry.safeParse(line)).find(({ success }) => success)?.data;
  if (!entry)
    throw new Error(`The node was not proven:\n${log.map((line) => JSON.stringify(line)).join('\n')}`);
  const { time, ruleSet: ruleset, report } = entry;
  const eventToProvenMs = Date.parse(time) - sentAt;
  const proof = report !== undefined && { proof: parseReport(JSON.stringify(report)) };
  return { eventToProvenMs, ruleset, ...proof };
}

const outcomeEntry = z.object({
  message: z.enum(['NodeProven', 'NodePending', 'NodeFailed', 'NodeSkipped']),
  /** The reason why the node is not proven. Absent if it is. */
  reason: z.string().optional(),
  /** The delay until the event is retried, in seconds. Absent if it is not retried. */
  retryAfterSeconds: z.number().optional(),
});

/** Returns the outcome that a function logged for a node, or undefined. */
export function findOutcome(log: readonly unknown[]): z.output<typeof outcomeEntry> | undefined {
  return log.map((line) => outcomeEntry.safeParse(line)).find(({ success }) => success)?.data;
}

const needsRebootEntry = z.object({ message: z.literal('NodeNeedsReboot'), reason: z.string() });

/** Returns the reason for a required reboot that a function logged, or undefined. */
export const findNeedsReboot = (log: readonly unknown[]): string | undefined =>
  log.map((line) => needsRebootEntry.safeParse(line)).find(({ success }) => success)?.data?.reason;
