/** A problem with credentials or with the region that affects the whole account, with the command that fixes it. */
export interface AccountError {
  readonly code: 'no-credentials' | 'expired-credentials' | 'no-region';
  readonly advice: string;
  /** Whether a retry may succeed, because the process may have valid credentials by the time of the retry. */
  readonly isRetryable: boolean;
}

/**
 * Error names that AWS returns for expired credentials. Lambda renews a function's credentials before they expire, so
 * functions retry after these errors.
 */
const expired = /^(ExpiredToken(Exception)?|RequestExpired)$/;
/** Messages of the SDK when its cached login has expired. */
const loginExpired = /expired|aws sso login/i;
const noCredentialsFound = /^(CredentialsProviderError|TokenProviderError|MissingAuthenticationToken.*)$/;
/** AWS returns these errors for unknown keys, and also for a region that is not enabled for the account. */
const unknownKeys = /^(UnrecognizedClientException|InvalidClientTokenId)$/;
/**
 * EC2 returns AuthFailure both for unknown keys and for a resource of another account. Only the message distinguishes
 * the two cases.
 */
const invalidKeysMessage = 'validate the provided access credentials';

/** @param name the name of the AWS or SDK error */
export function findAccountError(name: string, message: string): AccountError | undefined {
  if (expired.test(name)) return { ...expiredCredentials(), isRetryable: true };
  if (noCredentialsFound.test(name))
    return loginExpired.test(message) ? expiredCredentials() : noCredentials();
  if (unknownKeys.test(name) || (name === 'AuthFailure' && message.includes(invalidKeysMessage))) {
    return rejectedKeys;
  }
  return message.startsWith('Region is missing') ? noRegion : undefined;
}

/** Whether the credentials caused the error. These errors affect every call, not only one node. */
export const isCredentialsError = ({ code }: { readonly code: string }): boolean =>
  code === 'no-credentials' || code === 'expired-credentials';

const login = () => `aws sso login --profile ${profile()}`;

const expiredCredentials = (): AccountError => ({
  code: 'expired-credentials',
  advice: `Log in again with \`${login()}\`, or renew the keys with \`aws configure\`.`,
  isRetryable: false,
});

const noCredentials = (): AccountError => ({
  code: 'no-credentials',
  advice: `Log in with \`${login()}\`, or set keys with \`aws configure\`.`,
  isRetryable: false,
});

const rejectedKeys: AccountError = {
  code: 'no-credentials',
  advice:
    'AWS rejects these keys in this region. Set other keys with `aws configure`, or select a region that is enabled for the account with `export AWS_REGION=REGION`.',
  isRetryable: false,
};

const noRegion: AccountError = {
  code: 'no-region',
  advice: 'Set a region: `export AWS_REGION=REGION`.',
  isRetryable: false,
};

/** Returns the profile only if its name is safe to paste into a shell. */
function profile(): string {
  const name = process.env['AWS_PROFILE'] ?? 'default';
  return /^[\w.@-]+$/.test(name) ? name : 'PROFILE';
}
