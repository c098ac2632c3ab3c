import type { Context } from 'aws-lambda';
import { backfill, parseBackfillRequest, type BackfillAnswer } from '../backfill';
import { deadlineOf } from './deadline';
import { dependencies } from './dependencies';

/** Invoked by hand: `{"clusters": ["NAME"], "dryRun": true}`, both optional; by the schedule of the sweep with `{}`. */
export async function handler(request: unknown, context: Context): Promise<BackfillAnswer> {
  return backfill(parseBackfillRequest(request), dependencies, deadlineOf(context));
}
