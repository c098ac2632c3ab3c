import * as z from 'zod';
import { parseReport } from '../../../shared/core/model/report';
import type { Machine } from '../machine';
import type { NodeResult } from './scenario';

/** The rules of ours that are in table nat, as iptables-save prints them. */
export async function installedRules(node: Machine): Promise<string[]> {
  const { status, stdout, stderr } = await node.run(['iptables-save', '-t', 'nat']);
  if (status !== 0) throw new Error(`iptables-save ended with ${status}: ${stderr}`);
  return stdout.split('\n').filter((line) => line.startsWith('-A') && line.includes('PEERMASQ'));
}

const provenEntry = z.object({
  message: z.literal('NodeProven'),
  time: z.iso.datetime(),
  ruleSet: z.string(),
  report: z.unknown().optional(),
});

/**
 * What a function logged about the node it proved.
 * @param sentAt when its event was sent: milliseconds since the epoch
 * @throws Error with the whole log when it proved none
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
  /** Absent where it is proven. */
  reason: z.string().optional(),
  /** Absent where it is not looked at again. */
  retryAfterSeconds: z.number().optional(),
});

/** What became of a node that a function looked at; undefined when it looked at none. */
export function findOutcome(log: readonly unknown[]): z.output<typeof outcomeEntry> | undefined {
  return log.map((line) => outcomeEntry.safeParse(line)).find(({ success }) => success)?.data;
}

const needsRebootEntry = z.object({ message: z.literal('NodeNeedsReboot'), reason: z.string() });

/** In which words a function said that a node needs a reboot; undefined when it did not. */
export const findNeedsReboot = (log: readonly unknown[]): string | undefined =>
  log.map((line) => needsRebootEntry.safeParse(line)).find(({ success }) => success)?.data?.reason;
