/**
 * A fault that somebody must see. `advice` says what to do about it; the subclass says whether trying again
 * can help, so that nobody decides that twice.
 */
export abstract class PeermasqError extends Error {
  readonly code: string;
  readonly advice: string;

  constructor(code: string, message: string, advice: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = new.target.name;
    this.code = code;
    this.advice = advice;
  }
}

/** Trying again gives the same answer: record it, acknowledge the event, alert. */
export class PermanentError extends PeermasqError {}

/** Trying again may help: give the event back to its queue. */
export class RetryableError extends PeermasqError {
  readonly retryAfterSeconds: number;

  constructor(code: string, message: string, advice: string, retryAfterSeconds: number, cause?: unknown) {
    super(code, message, advice, cause);
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

/** What went wrong and what to do about it, in one line. */
export function formatError({ message, advice }: PeermasqError): string {
  return `${message} (${advice})`;
}

/** The same fault, with what else can be done about it. */
export function withAdvice(error: PeermasqError, more: string): PeermasqError {
  const { code, message } = error;
  const advice = `${error.advice} ${more}`;
  return error instanceof RetryableError
    ? new RetryableError(code, message, advice, error.retryAfterSeconds, error)
    : new PermanentError(code, message, advice, error);
}

export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
