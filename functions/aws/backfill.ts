import type { Context } from 'aws-lambda';
import { backfill, parseBackfillRequest, type BackfillResponse } from '../runtime/backfill';
import { accountFor, accountsOf } from './runtime/accounts';
import { deadlineOf } from './runtime/deadline';
import { functionLocation } from './runtime/function-location';
import { writeApiMetrics, writeNodeMetrics, writeUnproven } from './runtime/metrics';

/**
 * Invoked by hand: `{"clusters": ["NAME"], "dryRun": true}`, both optional; by the schedule of the sweep with
 * `{"skipNewNodes": true}`.
 */
export async function handler(body: unknown, context: Context): Promise<BackfillResponse> {
  const location = functionLocation(context);
  const request = parseBackfillRequest(body);
  const accounts = accountsOf(location).map((id) => accountFor(id, location));
  return backfill(request, accounts, deadlineOf(context), ({ outcomes, clusters, isComplete }) => {
    writeApiMetrics();
    if (request.dryRun) return;
    writeNodeMetrics(outcomes);
    // A sweep that could not see all must not tell that all is well.
    writeUnproven(outcomes, isComplete ? clusters : []);
  });
}
