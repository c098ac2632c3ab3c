/** What is wrong with the credentials or the project, whatever was called: one sentence, and the command that mends it. */
export interface AccountFault {
  readonly code: 'no-credentials' | 'no-project' | 'permission-denied' | 'not-found';
  readonly says: string;
  readonly advice: string;
}

export const loginAdvice =
  'Run: gcloud auth application-default login; a function has the credentials of its service account.';

const known: readonly (readonly [RegExp, (project: string) => AccountFault])[] = [
  [
    /requires? a quota project|USER_PROJECT_DENIED|serviceusage\.services\.use/i,
    () => ({
      code: 'permission-denied',
      says: 'the credentials have no quota project that they may use',
      advice: 'Run: gcloud auth application-default set-quota-project PROJECT.',
    }),
  ],
  [
    /invalid_grant|invalid_rapt|invalid authentication credentials/i,
    () => ({
      code: 'no-credentials',
      says: 'the credentials have expired, or are not valid',
      advice: loginAdvice,
    }),
  ],
  [
    /could not load the default credentials/i,
    () => ({ code: 'no-credentials', says: 'there are no credentials', advice: loginAdvice }),
  ],
  [
    /unable to detect a project id/i,
    () => ({ code: 'no-project', says: 'no project is named', advice: 'Say --project PROJECT.' }),
  ],
  [
    /accessNotConfigured|SERVICE_DISABLED|API has not been used in project/,
    (project) => ({
      code: 'permission-denied',
      says: `the Compute Engine API is not enabled in project ${project}`,
      advice: `Run: gcloud services enable compute.googleapis.com --project ${project}.`,
    }),
  ],
  [
    /The resource 'projects\/[^/']+' was not found|Project \S+ (?:was )?not found/,
    (project) => ({
      code: 'not-found',
      says: `there is no project ${project}, or it may not be seen`,
      advice: 'Say --project with one of: gcloud projects list.',
    }),
  ],
];

/** @param text of an error, with its reason; undefined for what is about the call itself */
export function accountFaultIn(text: string): AccountFault | undefined {
  const [, tell] = known.find(([pattern]) => pattern.test(text)) ?? [];
  const [, project = 'PROJECT'] = /projects?(?:[ /=]| ['`])([a-z0-9][a-z0-9:.-]*[a-z0-9])/i.exec(text) ?? [];
  return tell?.(project);
}
