/** What is wrong with the credentials or the project, whatever was called: one sentence, and the command that mends it. */
export interface AccountError {
  readonly code: 'no-credentials' | 'no-project' | 'permission-denied' | 'not-found';
  readonly summary: string;
  readonly advice: string;
}

export const loginAdvice =
  'Run: gcloud auth application-default login; a function has the credentials of its service account.';

const known: readonly (readonly [RegExp, (project: string) => AccountError])[] = [
  [
    /requires? a quota project|USER_PROJECT_DENIED|serviceusage\.services\.use/i,
    () => ({
      code: 'permission-denied',
      summary: 'the credentials have no quota project that they may use',
      advice: 'Run: gcloud auth application-default set-quota-project PROJECT.',
    }),
  ],
  [
    /invalid_grant|invalid_rapt|invalid authentication credentials/i,
    () => ({
      code: 'no-credentials',
      summary: 'the credentials have expired, or are not valid',
      advice: loginAdvice,
    }),
  ],
  [
    /could not load the default credentials/i,
    () => ({ code: 'no-credentials', summary: 'there are no credentials', advice: loginAdvice }),
  ],
  [
    /unable to detect a project id/i,
    () => ({ code: 'no-project', summary: 'no project is named', advice: 'Say --project PROJECT.' }),
  ],
  [
    /accessNotConfigured|SERVICE_DISABLED|API has not been used in project/,
    (project) => ({
      code: 'permission-denied',
      summary: `the Compute Engine API is not enabled in project ${project}`,
      advice: `Run: gcloud services enable compute.googleapis.com --project ${project}.`,
    }),
  ],
  [
    /The resource 'projects\/[^/']+' was not found|Project \S+ (?:was )?not found/,
    (project) => ({
      code: 'not-found',
      summary: `there is no project ${project}, or it may not be seen`,
      advice: 'Say --project with one of: gcloud projects list.',
    }),
  ],
];

/** @param text of an error, with its reason; undefined for what is about the call itself */
export function findAccountError(text: string): AccountError | undefined {
  const [, toAccountError] = known.find(([pattern]) => pattern.test(text)) ?? [];
  const [, project = 'PROJECT'] = /projects?(?:[ /=]| ['`])([a-z0-9][a-z0-9:.-]*[a-z0-9])/i.exec(text) ?? [];
  return toAccountError?.(project);
}
