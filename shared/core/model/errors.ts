export interface ErrorDetails {
  readonly advice: string;
  readonly cause?: unknown;
}

/** An error to report to the operator. `advice` says how to fix it. The subclass determines whether callers retry. */
export abstract class PeermasqError extends Error {
  readonly code: string;
  readonly advice: string;

  constructor(code: string, message: string, { advice, cause }: ErrorDetails) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = new.target.name;
    this.code = code;
    this.advice = advice;
  }
}

/** An error that a retry cannot fix. Callers record it, acknowledge the event and raise an alert. */
export class PermanentError extends PeermasqError {}

/** An error that a retry may fix. Callers return the event to its queue. */
export class RetryableError extends PeermasqError {
  readonly retryAfterSeconds: number;

  constructor(
    code: string,
    message: string,
    { retryAfterSeconds, ...details }: ErrorDetails & { readonly retryAfterSeconds: number },
  ) {
    super(code, message, details);
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

/** Returns the message and the advice on one line. */
export function formatError({ message, advice }: PeermasqError): string {
  return `${message} (${advice})`;
}

/** Returns a copy of the error with additional advice. */
export function withAdvice(error: PeermasqError, more: string): PeermasqError {
  const { code, message } = error;
  const details = { advice: `${error.advice} ${more}`, cause: error };
  return error instanceof RetryableError
    ? new RetryableError(code, message, { ...details, retryAfterSeconds: error.retryAfterSeconds })
    : new PermanentError(code, message, details);
}

/** For catch blocks: returns a PeermasqError, and rethrows anything else because it is a bug. */
export function asPeermasqError(thrown: unknown): PeermasqError {
  if (thrown instanceof PeermasqError) return thrown;
  throw thrown;
}

export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
