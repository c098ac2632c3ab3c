import { expect, test } from '@jest/globals';
import { PermanentError, RetryableError } from '../../../shared/core/model/errors';
import { toPeermasqError } from '../../../shared/gcp/client/errors';
import { badGateway, connectionReset, gaxiosError, googleError } from './client-errors';

const denied = (permission: string, resource: string) => ({
  status: 403,
  reason: 'forbidden',
  message: `Required '${permission}' permission for '${resource}'`,
});
const setMetadataDenied = denied('compute.instances.setMetadata', 'projects/p/zones/z/instances/i');
const firewallsDenied = denied('compute.networks.getEffectiveFirewalls', 'projects/p/global/networks/n');
const quota = { status: 403, reason: 'rateLimitExceeded', message: 'Quota exceeded' };

test.each<[string, unknown, string]>([
  ['an exhausted quota, reported with status 403', googleError(7, quota), 'throttled'],
  ['an exhausted quota in version 6 of the client', gaxiosError(quota), 'throttled'],
  ['429', googleError(8, { status: 429, reason: 'rateLimitExceeded' }), 'throttled'],
  ['503', googleError(14, { status: 503, reason: 'backendError' }), 'unavailable'],
  ['500, version 6', gaxiosError({ status: 500, reason: 'internalError' }), 'unavailable'],
  ['502 with an HTML page', badGateway, 'unavailable'],
  ['a connection reset', connectionReset, 'unreachable'],
  [
    'a connection reset in version 6 of the client',
    Object.assign(new Error('socket hang up'), { code: 'ECONNRESET' }),
    'unreachable',
  ],
  ['a timeout', Object.assign(new Error('Deadline exceeded'), { code: 4 }), 'unreachable'],
  [
    'a stale fingerprint',
    googleError(9, { status: 412, reason: 'conditionNotMet', message: 'Supplied fingerprint' }),
    'conflict',
  ],
  [
    'an instance that is being created',
    googleError(3, { status: 400, reason: 'resourceNotReady', message: 'not ready' }),
    'not-ready',
  ],
])('an error is retryable: %s', (_, thrown, code) => {
  expect(toPeermasqError('try', thrown)).toMatchObject({
    constructor: RetryableError,
    code,
    cause: thrown,
  });
});

interface Expected {
  readonly code: string;
  readonly advice: RegExp;
}

const refused = { code: 'refused', advice: /Report a bug/ };

test.each<[string, unknown, Expected]>([
  [
    'a missing permission',
    googleError(7, setMetadataDenied),
    {
      code: 'permission-denied',
      advice:
        /^Grant compute.instances.setMetadata on projects\/p\/zones\/z\/instances\/i to the service account of the function \(part of role nodes in infra\/gcp\) or, on the command line, to yourself/,
    },
  ],
  [
    'a missing permission in version 6 of the client',
    gaxiosError(setMetadataDenied),
    { code: 'permission-denied', advice: /^Grant compute.instances.setMetadata on/ },
  ],
  [
    'a missing permission that only operators need',
    googleError(7, firewallsDenied),
    {
      code: 'permission-denied',
      advice:
        /^Grant compute.networks.getEffectiveFirewalls on projects\/p\/global\/networks\/n to yourself \(part of roles\/compute.networkViewer\)/,
    },
  ],
  [
    'an invalid token',
    googleError(16, { status: 401, reason: 'authError', message: 'Invalid Credentials' }),
    { code: 'no-credentials', advice: /service account/ },
  ],
  [
    'an organisation policy',
    googleError(9, {
      status: 412,
      reason: 'conditionNotMet',
      message: 'Constraint constraints/x violated',
    }),
    { code: 'policy', advice: /policy/ },
  ],
  [
    'a missing resource',
    googleError(5, { status: 404, reason: 'notFound' }),
    { code: 'not-found', advice: /does not exist/ },
  ],
  ['a bad request', googleError(3, { status: 400, reason: 'invalid' }), refused],
  ['a bug', new TypeError('x is undefined'), refused],
  ['a bug with an error code', Object.assign(new TypeError('x'), { code: 'ERR_INVALID_ARG_TYPE' }), refused],
])('an error is permanent: %s', (_, thrown, { code, advice }) => {
  const error = toPeermasqError('set the metadata of node-1', thrown);
  expect(error).toMatchObject({ constructor: PermanentError, code, cause: thrown });
  expect(error.advice).toMatch(advice);
  expect(error.message).toMatch(/^Cannot set the metadata of node-1: /);
});
