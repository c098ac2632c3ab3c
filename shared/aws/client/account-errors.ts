/** Wrong or missing credentials, or a missing region, and the command that fixes it. */
export interface AccountError {
  readonly code: 'no-credentials' | 'expired-credentials' | 'no-region';
  readonly advice: string;
  /** The process may have valid credentials a moment later. */
  readonly isRetryable: boolean;
}

/** Errors of AWS. Lambda renews the credentials of a function before they expire, so a function retries. */
const expired = /^(ExpiredToken(Exception)?|RequestExpired)$/;
/** Errors of the SDK, when its cached login has expired. */
const loginExpired = /expired|aws sso login/i;
const noCredentialsFound = /^(CredentialsProviderError|TokenProviderError|MissingAuthenticationToken.*)$/;
/** Unknown keys, and keys in a region that their account has not enabled, give the same error. */
const unknownKeys = /^(UnrecognizedClientException|InvalidClientTokenId)$/;
/** EC2 sends AuthFailure both for unknown keys and for a resource of another account. */
const invalidKeysMessage = 'validate the provided access credentials';

/** @param name of the AWS or SDK error */
export function findAccountError(name: string, message: string): AccountError | undefined {
  if (expired.test(name)) return { ...expiredCredentials(), isRetryable: true };
  if (noCredentialsFound.test(name))
    return loginExpired.test(message) ? expiredCredentials() : noCredentials();
  if (unknownKeys.test(name) || (name === 'AuthFailure' && message.includes(invalidKeysMessage))) {
    return rejectedKeys;
  }
  return message.startsWith('Region is missing') ? noRegion : undefined;
}

/** These errors affect every call, not a single node. */
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
    'AWS rejects these keys in this region. Set other keys with `aws configure`, or a region that the account has enabled with `export AWS_REGION=REGION`.',
  isRetryable: false,
};

const noRegion: AccountError = {
  code: 'no-region',
  advice: 'Set a region: `export AWS_REGION=REGION`.',
  isRetryable: false,
};

/** Only a name that is safe to paste into a shell. */
function profile(): string {
  const name = process.env['AWS_PROFILE'] ?? 'default';
  return /^[\w.@-]+$/.test(name) ? name : 'PROFILE';
}
