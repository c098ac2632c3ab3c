import { SendCommandCommand } from '@aws-sdk/client-ssm';
import { ruleSetId, type RuleSet } from '../../core/model/rule-set';
import { call } from '../client/call';
import type { Access } from '../client/clients';
import { pushTimeoutMs } from '../discover/recorded-status';
import { ruleSetParameter } from '../names';

/** What the comment of a command tells a reader who did not send it. */
interface CommandComment {
  readonly ruleSetId: string;
  readonly generation: number;
  readonly routes: number;
}

/** At most 100 characters (SSM API reference, SendCommand). */
export function formatComment({ ruleSetId: id, generation, routes }: CommandComment): string {
  return `peermasq ${id.slice(0, 12)} generation ${generation} routes ${routes}`;
}

const commentPattern =
  /^peermasq (?<id>[0-9a-f]{12}) generation (?<generation>\d{1,15}) routes (?<routes>\d{1,6})$/;

/** Undefined for the command of another tool. The id is only its first characters. */
export function parseComment(text: string): CommandComment | undefined {
  const { id, generation, routes } = commentPattern.exec(text)?.groups ?? {};
  if (id === undefined || generation === undefined || routes === undefined) return undefined;
  return { ruleSetId: id, generation: Number(generation), routes: Number(routes) };
}

export interface RuleSetCommand {
  /** The name of the SSM document. */
  readonly document: string;
  readonly ruleSet: RuleSet;
  /** The rule set as `packRuleSet` returns it. */
  readonly packed: string;
  readonly routes: number;
}

/** @returns the id of the command */
export async function sendRuleSet(
  { clients: { ssm, waitToSend }, deadline }: Access,
  { document, ruleSet, packed, routes }: RuleSetCommand,
  instanceIds: string[],
): Promise<string> {
  await waitToSend(deadline);
  const { generation } = ruleSet;
  const command = new SendCommandCommand({
    DocumentName: document,
    InstanceIds: instanceIds,
    Parameters: { [ruleSetParameter]: [packed] },
    Comment: formatComment({ ruleSetId: ruleSetId(ruleSet), generation, routes }),
    // For the start. A late start is harmless, because a newer rule set has a newer generation.
    TimeoutSeconds: pushTimeoutMs / 1_000,
    MaxConcurrency: '100%',
    // The default of 0 skips the remaining nodes after the first failure.
    MaxErrors: '100%',
  });
  const { Command } = await call('ssm:SendCommand', deadline, (options) => ssm.send(command, options));
  return Command?.CommandId ?? '';
}
