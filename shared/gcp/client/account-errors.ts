/** A problem with the credentials or the project that makes every call fail. */
export interface AccountError {
  readonly code: 'no-credentials' | 'no-project' | 'permission-denied' | 'not-found';
  readonly summary: string;
  readonly advice: string;
}

export const loginAdvice =
  'Run: gcloud auth application-default login. Functions use the credentials of their service account instead.';

interface Pattern {
  readonly matches: RegExp;
  readonly toAccountError: (project: string) => AccountError;
}

const patterns: readonly Pattern[] = [
  {
    matches: /requires? a quota project|USER_PROJECT_DENIED|serviceusage\.services\.use/i,
    toAccountError: () => ({
      code: 'permission-denied',
      summary: 'the credentials have no quota project, or no permission to use it',
      advice: 'Run: gcloud auth application-default set-quota-project PROJECT.',
    }),
  },
  {
    matches: /invalid_grant|invalid_rapt|invalid authentication credentials/i,
    toAccountError: () => ({
      code: 'no-credentials',
      summary: 'the credentials are expired or invalid',
      advice: loginAdvice,
    }),
  },
  {
    matches: /could not load the default credentials/i,
    toAccountError: () => ({ code: 'no-credentials', summary: 'no credentials found', advice: loginAdvice }),
  },
  {
    matches: /unable to detect a project id/i,
    toAccountError: () => ({
      code: 'no-project',
      summary: 'no project is set',
      advice: 'Use --project PROJECT.',
    }),
  },
  {
    matches: /accessNotConfigured|SERVICE_DISABLED|API has not been used in project/,
    toAccountError: (project) => ({
      code: 'permission-denied',
      summary: `the Compute Engine API is not enabled in project ${project}`,
      advice: `Run: gcloud services enable compute.googleapis.com --project ${project}.`,
    }),
  },
  {
    matches: /The resource 'projects\/[^/']+' was not found|Project \S+ (?:was )?not found/,
    toAccountError: (project) => ({
      code: 'not-found',
      summary: `project ${project} does not exist, or is not visible to these credentials`,
      advice: 'Use --project with a project from: gcloud projects list.',
    }),
  },
];

/** Returns undefined if the error affects only one call. @param text the reason and the message of an error */
export function findAccountError(text: string): AccountError | undefined {
  const pattern = patterns.find(({ matches }) => matches.test(text));
  const [, project = 'PROJECT'] = /projects?(?:[ /=]| ['`])([a-z0-9][a-z0-9:.-]*[a-z0-9])/i.exec(text) ?? [];
  return pattern?.toAccountError(project);
}
