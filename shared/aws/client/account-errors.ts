/** What is wrong with the credentials or the region of a call, and the command that mends it. */
export interface AccountError {
  readonly code: 'no-credentials' | 'expired-credentials' | 'no-region';
  readonly advice: string;
  /** Whether the same process may have better ones a moment later. */
  readonly isRetryable: boolean;
}

/** As AWS says it. The platform gives a function new ones before, so a function tries again. */
const expired = /^(ExpiredToken(Exception)?|RequestExpired)$/;
/** As the SDK says it, when what it keeps of a login is over. */
const loginExpired = /expired|aws sso login/i;
const noCredentialsFound = /^(CredentialsProviderError|TokenProviderError|MissingAuthenticationToken.*)$/;
/** Keys of nobody, and keys in a region that their account has not enabled, look alike. */
const unknownKeys = /^(UnrecognizedClientException|InvalidClientTokenId)$/;
/** EC2's word for it, which it also uses for a resource of another account. */
const invalidKeysMessage = 'validate the provided access credentials';

/** @param name of the error, as AWS or the SDK has it */
export function findAccountError(name: string, message: string): AccountError | undefined {
  if (expired.test(name)) return { ...expiredCredentials(), isRetryable: true };
  if (noCredentialsFound.test(name))
    return { ...(loginExpired.test(message) ? expiredCredentials() : noCredentials()), isRetryable: false };
  if (unknownKeys.test(name) || (name === 'AuthFailure' && message.includes(invalidKeysMessage))) {
    return { ...unknown, isRetryable: false };
  }
  return message.startsWith('Region is missing') ? { ...noRegion, isRetryable: false } : undefined;
}

/** It then concerns every call, and no node. */
export const isCredentialsError = ({ code }: { readonly code: string }): boolean =>
  code === 'no-credentials' || code === 'expired-credentials';

const login = () => `aws sso login --profile ${profile()}`;

const expiredCredentials = () => ({
  code: 'expired-credentials' as const,
  advice: `Log in again with \`${login()}\`, or renew the keys with \`aws configure\`.`,
});

const noCredentials = () => ({
  code: 'no-credentials' as const,
  advice: `Log in with \`${login()}\`, or set keys with \`aws configure\`.`,
});

const unknown = {
  code: 'no-credentials',
  advice:
    'AWS does not know these keys in this region: set others with `aws configure`, or a region that the account has enabled with `export AWS_REGION=REGION`.',
} as const;

const noRegion = {
  code: 'no-region',
  advice: 'Say which region: `export AWS_REGION=REGION`.',
} as const;

/** As it may be typed. */
function profile(): string {
  const name = process.env['AWS_PROFILE'] ?? 'default';
  return /^[\w.@-]+$/.test(name) ? name : 'PROFILE';
}
