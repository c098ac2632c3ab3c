import type { Request, Response } from '@google-cloud/functions-framework';
import { PeermasqError, PermanentError, RetryableError } from '../../shared/core/model/errors';
import { errorFields } from '../../shared/core/reconcile/outcome';
import { backfill, type SweepSummary } from '../runtime/backfill';
import { parseBackfillRequest, requestUsage } from '../runtime/backfill-request';
import { invocationDeadline, withCallCounts } from './runtime/invocation';
import { logClusterMetrics } from './runtime/metrics';
import { dependencies, eachProject } from './runtime/projects';

/**
 * Handles `POST {"clusters": ["NAME"], "dryRun": true}`, where both fields are optional, from Cloud Scheduler (the
 * sweep) and from operators. IAM decides who may call this function. Only one invocation runs at a time, so that
 * restarts do not overlap.
 */
export const backfillNodes = withCallCounts(async (request: Request, response: Response): Promise<void> => {
  if (request.method !== 'POST') {
    response.status(405).set('Allow', 'POST').json({ error: 'Use POST.' });
    return;
  }
  try {
    rejectQuery(request);
    const backfillRequest = parseBackfillRequest(request.body);
    const onSummary = (summary: SweepSummary) => {
      if (!backfillRequest.dryRun) logClusterMetrics(summary, dependencies.log);
    };
    response.json(
      await backfill(backfillRequest, eachProject, { deadline: invocationDeadline(), onSummary }),
    );
  } catch (error) {
    if (!(error instanceof PeermasqError)) throw error;
    const { code, message, advice } = error;
    // Errors with other codes are logged where they occur.
    if (code === 'bad-request')
      dependencies.log.error('BackfillFailed', { cloud: 'gcp', ...errorFields(error) });
    response.status(statusOf(error)).json({ error: message, code, advice });
  }
});

/** Rejects a request with a query string. If query strings were ignored, `?dryRun=true` would push. */
function rejectQuery({ url }: Request): void {
  if (!url.includes('?')) return;
  throw new PermanentError('bad-request', 'The backfill request has a query string, which is not supported', {
    advice: `Send JSON in the body: ${requestUsage}`,
  });
}

function statusOf(error: PeermasqError): number {
  if (error.code === 'bad-request') return 400;
  return error instanceof RetryableError ? 503 : 500;
}
