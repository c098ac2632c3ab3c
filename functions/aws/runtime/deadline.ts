import type { Context } from 'aws-lambda';
import type { Deadline } from '../../../shared/core/cloud';

/** Kept back from the invocation's time, to log and to answer the queue. */
const reserveMs = 5_000;

export function deadlineOf(context: Pick<Context, 'getRemainingTimeInMillis'>): Deadline {
  return Date.now() + context.getRemainingTimeInMillis() - reserveMs;
}
