import { describe, expect, test } from '@jest/globals';
import { PermanentError, RetryableError } from '../../../shared/core/model/errors';
import { call, toPeermasqError } from '../../../shared/gcp/client/errors';

const rawResponse = Symbol.for('google-gax.rawHttpResponsePayload');
const answer = (code: number, reason: string, message: string) => ({
  error: { code, message, errors: [{ message, domain: 'global', reason }] },
});

/** The error of version 7 of the client: gRPC code, HTTP status, and the answer's text under a symbol. */
const googleError = (code: number, httpStatusCode: number, reason: string, message: string) =>
  Object.assign(new Error(message), {
    code,
    httpStatusCode,
    [rawResponse]: JSON.stringify(answer(httpStatusCode, reason, message)),
  });

/** The error of version 6, and of the credentials in both: the HTTP status as `status` and `code`. */
const gaxiosError = (status: number, reason: string, message: string) =>
  Object.assign(new Error(message), {
    status,
    code: status,
    response: { status, data: answer(status, reason, message) },
  });

const denied = "Required 'compute.instances.setMetadata' permission for 'projects/p/zones/z/instances/i'";

describe('an error of the client', () => {
  test.each<[string, unknown, string]>([
    ['quota, 403', googleError(7, 403, 'rateLimitExceeded', 'Quota exceeded'), 'throttled'],
    ['quota, 403, version 6', gaxiosError(403, 'rateLimitExceeded', 'Quota exceeded'), 'throttled'],
    ['429', googleError(8, 429, 'rateLimitExceeded', 'x'), 'throttled'],
    ['503', googleError(14, 503, 'backendError', 'x'), 'unavailable'],
    ['500, version 6', gaxiosError(500, 'internalError', 'x'), 'unavailable'],
    [
      '502 with a page of HTML',
      Object.assign(new Error('Bad Gateway'), { httpStatusCode: 502, [rawResponse]: '<html>' }),
      'unavailable',
    ],
    ['a reset', Object.assign(new Error('socket hang up'), { code: 14 }), 'unreachable'],
    ['a reset, version 6', Object.assign(new Error('socket hang up'), { code: 'ECONNRESET' }), 'unreachable'],
    ['a call that took too long', Object.assign(new Error('Deadline exceeded'), { code: 4 }), 'unreachable'],
    ['a stale fingerprint', googleError(9, 412, 'conditionNotMet', 'Supplied fingerprint'), 'conflict'],
    ['an instance in the making', googleError(3, 400, 'resourceNotReady', 'not ready'), 'not-ready'],
  ])('is retryable: %s', (_, thrown, code) => {
    expect(toPeermasqError('try', thrown)).toMatchObject({
      constructor: RetryableError,
      code,
      cause: thrown,
    });
  });

  test.each<[string, unknown, string, RegExp]>([
    [
      'permission',
      googleError(7, 403, 'forbidden', denied),
      'permission-denied',
      /^Grant compute.instances.setMetadata on/,
    ],
    ['permission, version 6', gaxiosError(403, 'forbidden', denied), 'permission-denied', /^Grant compute/],
    [
      'an API that is off',
      googleError(
        7,
        403,
        'accessNotConfigured',
        'Compute Engine API has not been used in project 4711 before or it is disabled.',
      ),
      'permission-denied',
      /gcloud services enable compute.googleapis.com --project 4711/,
    ],
    [
      'a project that is not there',
      googleError(5, 404, 'notFound', "The resource 'projects/nobodys' was not found"),
      'not-found',
      /--project with one of: gcloud projects list/,
    ],
    [
      'credentials that have expired',
      gaxiosError(400, 'invalid_grant', 'invalid_grant'),
      'no-credentials',
      /^Run: gcloud auth application-default login/,
    ],
    [
      'credentials to prove anew',
      new Error('{"error":"invalid_grant","error_subtype":"invalid_rapt"}'),
      'no-credentials',
      /^Run: gcloud auth application-default login/,
    ],
    [
      'no project',
      new Error('Unable to detect a Project Id in the current environment.'),
      'no-project',
      /--project/,
    ],
    [
      'no quota project',
      googleError(
        7,
        403,
        'forbidden',
        'The compute.googleapis.com API requires a quota project, which is not set by default.',
      ),
      'permission-denied',
      /set-quota-project/,
    ],
    [
      'a permission that only people need',
      googleError(
        7,
        403,
        'forbidden',
        "Required 'compute.networks.getEffectiveFirewalls' permission for 'projects/p/global/networks/n'",
      ),
      'permission-denied',
      /^Grant compute.networks.getEffectiveFirewalls on projects\/p\/global\/networks\/n to yourself \(roles\/compute.networkViewer/,
    ],
    [
      'a bad token',
      googleError(16, 401, 'authError', 'Invalid Credentials'),
      'no-credentials',
      /service account/,
    ],
    [
      'no credentials',
      new Error('Could not load the default credentials.'),
      'no-credentials',
      /service account/,
    ],
    [
      'a policy',
      googleError(9, 412, 'conditionNotMet', 'Constraint constraints/x violated'),
      'policy',
      /policy/,
    ],
    ['what does not exist', googleError(5, 404, 'notFound', 'x'), 'not-found', /not exist/],
    ['a bad request', googleError(3, 400, 'invalid', 'x'), 'refused', /report/],
    ['a fault of ours', new TypeError('x is undefined'), 'refused', /report/],
    [
      'a fault of ours with a code',
      Object.assign(new TypeError('x'), { code: 'ERR_INVALID_ARG_TYPE' }),
      'refused',
      /report/,
    ],
  ])('is permanent: %s', (_, thrown, code, advice) => {
    const error = toPeermasqError('set the metadata of node-1', thrown);
    expect(error).toMatchObject({ constructor: PermanentError, code, cause: thrown });
    expect(error.advice).toMatch(advice);
    expect(error.message).toMatch(/^Cannot set the metadata of node-1: /);
  });
});

describe('trying again', () => {
  const failing = (times: number, error: Error) => {
    let calls = 0;
    const attempt = () => (++calls > times ? Promise.resolve(calls) : Promise.reject(error));
    return { attempt, calls: () => calls };
  };
  const inSeconds = (seconds: number) => Date.now() + seconds * 1000;
  const reset = Object.assign(new Error('socket hang up'), { code: 14 });

  test('ends with the first success', async () => {
    expect(await call('try', inSeconds(10), failing(2, reset).attempt)).toBe(3);
  });

  test('ends with the last attempt', async () => {
    const { attempt, calls } = failing(Infinity, reset);
    await expect(call('try', inSeconds(10), attempt, 3)).rejects.toMatchObject({ code: 'unreachable' });
    expect(calls()).toBe(3);
  });

  test('never goes past the deadline, and never starts without an attempt', async () => {
    const { attempt, calls } = failing(Infinity, reset);
    await expect(call('try', inSeconds(-1), attempt)).rejects.toBeInstanceOf(RetryableError);
    expect(calls()).toBe(1);
  });

  test('is for what can change: a permanent error is thrown at once', async () => {
    const { attempt, calls } = failing(Infinity, googleError(5, 404, 'notFound', 'x'));
    await expect(call('try', inSeconds(10), attempt)).rejects.toBeInstanceOf(PermanentError);
    expect(calls()).toBe(1);
  });
});
