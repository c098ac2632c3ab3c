import type { Context } from 'aws-lambda';
import { backfill, parseBackfillRequest, type BackfillResponse } from '../backfill';
import { accountFor, accountsOf } from './accounts';
import { deadlineOf } from './deadline';
import { functionLocation } from './home';
import { writeApiMetrics, writeNodeMetrics, writeUnproven } from './metrics';

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
