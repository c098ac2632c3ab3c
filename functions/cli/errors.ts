import { inspect } from 'node:util';
import { CommanderError } from 'commander';
import { messageOf, PeermasqError, RetryableError } from '../../shared/core/model/errors';
import { printErr } from './output';

/**
 * What a process ends with; `--help` says so too. A shell that is interrupted expects 128 and the signal's number.
 */
export const exitCodes = { ok: 0, error: 1, finding: 2, unknown: 3, interrupted: 130 } as const;

/** Advice is written for functions, which come again by themselves. */
const retryAdvice =
  'A function would; here, run the command again. If it lasts, look at --region, --project, the network and HTTPS_PROXY.';

/** What went wrong and what to do about it; the stack only where it is asked for. */
export function reportError(error: unknown, isDebug: boolean, where?: string): void {
  const isOurs = error instanceof PeermasqError;
  const lines = [
    `error: ${where === undefined ? '' : `${where}: `}${messageOf(error)}`,
    ...(isOurs ? [error.advice] : []),
    ...(error instanceof RetryableError ? [retryAdvice] : []),
    ...(isOurs || isDebug ? [] : ['This should not happen: --debug shows where.']),
    ...(isDebug ? [inspect(error)] : []),
  ];
  printErr(lines.join('\n'));
}

/** In the place of an answer, for programs. */
export function errorDocument(error: unknown) {
  if (error instanceof CommanderError)
    return {
      error: { code: 'bad-option', message: error.message, advice: 'Say --help for what is accepted.' },
    };
  const { code, advice } = error instanceof PeermasqError ? error : { code: 'unexpected', advice: null };
  return { error: { code, message: messageOf(error), advice } };
}
