import { z } from 'zod';
import { parseReport, type Report } from '../../../shared/core/report';
import type { Machine } from '../machine';

/** The rules of ours that are in table nat, as iptables-save prints them. */
export async function inForce(node: Machine): Promise<string[]> {
  const { status, stdout, stderr } = await node.run(['iptables-save', '-t', 'nat']);
  if (status !== 0) throw new Error(`iptables-save ended with ${status}: ${stderr}`);
  return stdout.split('\n').filter((line) => line.startsWith('-A') && line.includes('PEERMASQ'));
}

const provenEntry = z.object({
  message: z.literal('NodeProven'),
  ruleSet: z.string(),
  report: z.unknown().optional(),
});

/** What a function logged about the node it proved. @throws Error with the whole log when it proved none */
export function provenIn(log: readonly unknown[]): { ruleset: string; proof?: Report } {
  const entry = log.map((line) => provenEntry.safeParse(line)).find(({ success }) => success)?.data;
  if (!entry)
    throw new Error(`The node was not proven:\n${log.map((line) => JSON.stringify(line)).join('\n')}`);
  const { ruleSet: ruleset, report } = entry;
  return report === undefined ? { ruleset } : { ruleset, proof: parseReport(JSON.stringify(report)) };
}
