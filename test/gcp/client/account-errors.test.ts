import { expect, test } from '@jest/globals';
import { PermanentError } from '../../../shared/core/model/errors';
import { toPeermasqError } from '../../../shared/gcp/client/errors';
import { gaxiosError, googleError } from './client-errors';

interface Expected {
  readonly code: string;
  readonly summary: string;
  readonly advice: RegExp;
}

const login =
  /^Run: gcloud auth application-default login\. Functions use the credentials of their service account/;
const expired = { code: 'no-credentials', summary: 'the credentials are expired or invalid', advice: login };

test.each<[string, unknown, Expected]>([
  [
    'a disabled API',
    googleError(7, {
      status: 403,
      reason: 'accessNotConfigured',
      message: 'Compute Engine API has not been used in project 4711 before or it is disabled.',
    }),
    {
      code: 'permission-denied',
      summary: 'the Compute Engine API is not enabled in project 4711',
      advice: /^Run: gcloud services enable compute.googleapis.com --project 4711\.$/,
    },
  ],
  [
    'a missing project',
    googleError(5, {
      status: 404,
      reason: 'notFound',
      message: "The resource 'projects/my-project' was not found",
    }),
    {
      code: 'not-found',
      summary: 'project my-project does not exist, or is not visible to these credentials',
      advice: /^Use --project with a project from: gcloud projects list\.$/,
    },
  ],
  [
    'expired credentials',
    gaxiosError({ status: 400, reason: 'invalid_grant', message: 'invalid_grant' }),
    expired,
  ],
  [
    'credentials that need a new login',
    new Error('{"error":"invalid_grant","error_subtype":"invalid_rapt"}'),
    expired,
  ],
  [
    'no credentials',
    new Error('Could not load the default credentials.'),
    { code: 'no-credentials', summary: 'no credentials found', advice: login },
  ],
  [
    'no project',
    new Error('Unable to detect a Project Id in the current environment.'),
    { code: 'no-project', summary: 'no project is set', advice: /^Use --project PROJECT\.$/ },
  ],
  [
    'no quota project',
    googleError(7, {
      status: 403,
      reason: 'forbidden',
      message: 'The compute.googleapis.com API requires a quota project, which is not set by default.',
    }),
    {
      code: 'permission-denied',
      summary: 'the credentials have no quota project, or no permission to use it',
      advice: /^Run: gcloud auth application-default set-quota-project PROJECT\.$/,
    },
  ],
])(
  "an error that concerns the user's account or credentials is permanent: %s",
  (_, thrown, { code, summary, advice }) => {
    const error = toPeermasqError('list the instances', thrown);
    expect(error).toMatchObject({ constructor: PermanentError, code, cause: thrown });
    expect(error.message).toBe(`Cannot list the instances: ${summary}`);
    expect(error.advice).toMatch(advice);
  },
);
