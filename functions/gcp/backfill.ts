import type { Request, Response } from '@google-cloud/functions-framework';
import { PeermasqError, PermanentError, RetryableError } from '../../shared/core/errors';
import { faultFields } from '../../shared/core/outcome';
import { backfill, parseBackfillRequest, requestForm, type Seen } from '../backfill';
import { deadline, dependencies, eachProject } from './dependencies';
import { counted } from './invocation';
import { logClusters } from './sweep-log';

/**
 * Called by the schedule of the sweep, and by hand: `POST {"clusters": ["NAME"], "dryRun": true}`, both optional.
 * Who may call is IAM's to say. One invocation runs at a time, so that restarts do.
 */
export const backfillNodes = counted(async (request: Request, response: Response): Promise<void> => {
  if (request.method !== 'POST') {
    response.status(405).set('Allow', 'POST').json({ error: 'Send a POST.' });
    return;
  }
  try {
    refuseQuery(request);
    const asked = parseBackfillRequest(request.body);
    const observe = (seen: Seen) => {
      if (!asked.dryRun) logClusters(seen, dependencies.log);
    };
    response.json(await backfill(asked, eachProject, deadline(), observe));
  } catch (error) {
    if (!(error instanceof PeermasqError)) throw error;
    const { code, message, advice } = error;
    // Every other fault has been logged where the pass failed.
    if (code === 'bad-request')
      dependencies.log.error('BackfillFailed', { cloud: 'gcp', ...faultFields(error) });
    response.status(statusOf(error)).json({ error: message, code, advice });
  }
});

/** Whoever sends `?dryRun=true` means a dry run; reading the body alone would push. */
function refuseQuery({ url }: Request): void {
  if (!url.includes('?')) return;
  throw new PermanentError(
    'bad-request',
    'The backfill request has a query string, which is not read',
    `Send what you mean as JSON in the body: ${requestForm}`,
  );
}

function statusOf(error: PeermasqError): number {
  if (error.code === 'bad-request') return 400;
  return error instanceof RetryableError ? 503 : 500;
}
