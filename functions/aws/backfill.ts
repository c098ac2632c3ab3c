import type { Context } from 'aws-lambda';
import { backfill, parseBackfillRequest, type BackfillAnswer } from '../backfill';
import { accountFor, accountsOf } from './accounts';
import { deadlineOf } from './deadline';
import { homeOf } from './home';
import { writeApiMetrics, writeNodeMetrics, writeUnproven } from './metrics';

/**
 * Invoked by hand: `{"clusters": ["NAME"], "dryRun": true}`, both optional; by the schedule of the sweep with
 * `{"leaveYoung": true}`.
 */
export async function handler(body: unknown, context: Context): Promise<BackfillAnswer> {
  const home = homeOf(context);
  const request = parseBackfillRequest(body);
  const accounts = accountsOf(home).map((id) => accountFor(id, home));
  return backfill(request, accounts, deadlineOf(context), ({ outcomes, clusters, isWhole }) => {
    writeApiMetrics();
    if (request.dryRun) return;
    writeNodeMetrics(outcomes);
    // A sweep that could not see all must not tell that all is well.
    writeUnproven(outcomes, isWhole ? clusters : []);
  });
}
