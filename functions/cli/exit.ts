import { inspect } from 'node:util';
import { CommanderError } from 'commander';
import { messageOf, PeermasqError, RetryableError } from '../../shared/core/model/errors';
import { printErr } from './output';

/** `--help` lists these exit codes. After a signal, a shell expects 128 plus the number of the signal. */
export const exitCodes = { ok: 0, error: 1, finding: 2, unknown: 3, interrupted: 130 } as const;

export const usageAdvice = 'Run it with --help for usage.';

/**
 * Added to the advice of retryable errors, which is written for the functions, because the functions retry
 * automatically.
 */
const retryAdvice =
  'Retry, or raise --timeout. If the error persists, check --region, --project, the network and HTTPS_PROXY.';

export interface ErrorFormat {
  /** Whether to print the stack trace, too. */
  readonly debug?: boolean;
  /** The name of the target in which the error occurred. */
  readonly target?: string;
}

export function reportError(error: unknown, { debug = false, target }: ErrorFormat = {}): void {
  const isExpected = error instanceof PeermasqError;
  const lines = [
    `error: ${target === undefined ? '' : `${target}: `}${messageOf(error)}`,
    ...(isExpected ? [error.advice] : []),
    ...(error instanceof RetryableError ? [retryAdvice] : []),
    ...(isExpected || debug
      ? []
      : ['This is a bug in peermasq. Run it with --debug to see the stack trace.']),
    ...(debug ? [inspect(error)] : []),
  ];
  printErr(lines.join('\n'));
}

/** The document that `-o json` and `-o yaml` print in place of the output when a command fails. */
export function errorDocument(error: unknown) {
  if (error instanceof CommanderError)
    return { error: { code: 'bad-option', message: error.message, advice: usageAdvice } };
  const { code, advice } = error instanceof PeermasqError ? error : { code: 'unexpected', advice: null };
  return { error: { code, message: messageOf(error), advice } };
}

export interface InterruptHandlers {
  /** Called on the first SIGINT or SIGTERM. */
  readonly onFirst: () => void;
  /** Called on the second signal, right before the process exits. */
  readonly beforeExit?: () => void;
}

/** @returns a function that stops listening */
export function onInterrupt({ onFirst, beforeExit }: InterruptHandlers): () => void {
  let isInterrupted = false;
  const listener = () => {
    if (isInterrupted) {
      beforeExit?.();
      process.exit(exitCodes.interrupted);
    }
    isInterrupted = true;
    onFirst();
  };
  process.on('SIGINT', listener);
  process.on('SIGTERM', listener);
  return () => {
    process.off('SIGINT', listener);
    process.off('SIGTERM', listener);
  };
}

/** Runs work that can be aborted. An interrupt aborts the work, and the process exits when the work has cleaned up. */
export async function runWithCleanup<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const interrupt = new AbortController();
  const stopListening = onInterrupt({
    onFirst: () => {
      printErr('\nInterrupted: cleaning up on the node. Press Ctrl-C again to exit immediately.');
      interrupt.abort();
    },
  });
  try {
    return await work(interrupt.signal);
  } finally {
    stopListening();
    if (interrupt.signal.aborted) process.exit(exitCodes.interrupted);
  }
}
