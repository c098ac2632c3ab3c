import { inspect } from 'node:util';
import { messageOf, PeermasqError } from '../../shared/core/errors';
import { say } from './output';

/**
 * What a process ends with; `--help` says so too. A shell that is interrupted expects 128 and the signal's number.
 */
export const exitCodes = { fine: 0, fault: 1, finding: 2, interrupted: 130 } as const;

/** What went wrong and what to do about it; the stack only where it is asked for. */
export function printFault(error: unknown, isDebug: boolean): void {
  const isOurs = error instanceof PeermasqError;
  const lines = [
    `error: ${messageOf(error)}`,
    ...(isOurs ? [error.advice] : []),
    ...(isOurs || isDebug ? [] : ['This should not happen: --debug shows where.']),
    ...(isDebug ? [inspect(error)] : []),
  ];
  say(lines.join('\n'));
}
