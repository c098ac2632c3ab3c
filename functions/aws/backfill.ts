import type { Context } from 'aws-lambda';
import { backfill, type SweepSummary } from '../runtime/backfill';
import { parseBackfillRequest } from '../runtime/backfill-request';
import type { BackfillResponse } from '../runtime/backfill-response';
import { accountFor, accountsOf } from './runtime/accounts';
import { deadlineOf, functionLocation } from './runtime/invocation';
import { writeApiMetrics, writeNodeMetrics, writeUnproven } from './runtime/metrics';

/**
 * Operators invoke this function with `{"clusters": ["NAME"], "dryRun": true}`, the scheduled sweep with
 * `{"skipNewNodes": true}`.
 */
export async function handler(body: unknown, context: Context): Promise<BackfillResponse> {
  const location = functionLocation(context);
  const request = parseBackfillRequest(body);
  const [own, ...members] = accountsOf(location);
  const accounts = [accountFor(own, location), ...members.map((id) => accountFor(id, location))] as const;
  const onSummary = ({ outcomes, clusters, isComplete }: SweepSummary) => {
    writeApiMetrics();
    if (request.dryRun) return;
    writeNodeMetrics(outcomes);
    // An incomplete sweep reports no metric, because a count of zero unproven nodes could be wrong.
    writeUnproven(outcomes, isComplete ? clusters : []);
  };
  return backfill(request, accounts, { deadline: deadlineOf(context), onSummary });
}
