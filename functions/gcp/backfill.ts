import type { Request, Response } from '@google-cloud/functions-framework';
import { PeermasqError, PermanentError, RetryableError } from '../../shared/core/model/errors';
import { errorFields } from '../../shared/core/reconcile/outcome';
import { backfill, parseBackfillRequest, requestUsage, type SweepSummary } from '../runtime/backfill';
import { deadline, dependencies, eachProject } from './runtime/dependencies';
import { withCallCounts } from './runtime/invocation';
import { logClusterMetrics } from './runtime/metrics';

/**
 * Called by the schedule of the sweep, and by hand: `POST {"clusters": ["NAME"], "dryRun": true}`, both optional.
 * Who may call is IAM's to say. One invocation runs at a time, so that restarts do.
 */
export const backfillNodes = withCallCounts(async (request: Request, response: Response): Promise<void> => {
  if (request.method !== 'POST') {
    response.status(405).set('Allow', 'POST').json({ error: 'Send a POST.' });
    return;
  }
  try {
    rejectQuery(request);
    const backfillRequest = parseBackfillRequest(request.body);
    const onSummary = (summary: SweepSummary) => {
      if (!backfillRequest.dryRun) logClusterMetrics(summary, dependencies.log);
    };
    response.json(await backfill(backfillRequest, eachProject, deadline(), onSummary));
  } catch (error) {
    if (!(error instanceof PeermasqError)) throw error;
    const { code, message, advice } = error;
    // Every other fault has been logged where the pass failed.
    if (code === 'bad-request')
      dependencies.log.error('BackfillFailed', { cloud: 'gcp', ...errorFields(error) });
    response.status(statusOf(error)).json({ error: message, code, advice });
  }
});

/** Whoever sends `?dryRun=true` means a dry run; reading the body alone would push. */
function rejectQuery({ url }: Request): void {
  if (!url.includes('?')) return;
  throw new PermanentError(
    'bad-request',
    'The backfill request has a query string, which is not read',
    `Send what you mean as JSON in the body: ${requestUsage}`,
  );
}

function statusOf(error: PeermasqError): number {
  if (error.code === 'bad-request') return 400;
  return error instanceof RetryableError ? 503 : 500;
}
