import type { Context } from 'aws-lambda';
import { backfill, parseBackfillRequest, type BackfillResponse } from '../runtime/backfill';
import { accountFor, accountsOf } from './runtime/accounts';
import { deadlineOf, functionLocation } from './runtime/invocation';
import { writeApiMetrics, writeNodeMetrics, writeUnproven } from './runtime/metrics';

/** Invoked by operators with `{"clusters": ["NAME"], "dryRun": true}`, and by the sweep with `{"skipNewNodes": true}`. */
export async function handler(body: unknown, context: Context): Promise<BackfillResponse> {
  const location = functionLocation(context);
  const request = parseBackfillRequest(body);
  const accounts = accountsOf(location).map((id) => accountFor(id, location));
  return backfill(request, accounts, deadlineOf(context), ({ outcomes, clusters, isComplete }) => {
    writeApiMetrics();
    if (request.dryRun) return;
    writeNodeMetrics(outcomes);
    // An incomplete sweep must not report zero unproven nodes.
    writeUnproven(outcomes, isComplete ? clusters : []);
  });
}
