/** What is wrong with the credentials or the region of a call, and the command that mends it. */
export interface CredentialsFault {
  readonly code: 'no-credentials' | 'expired-credentials' | 'no-region';
  readonly advice: string;
  /** Whether the same process may have better ones a moment later. */
  readonly canPass: boolean;
}

/** As AWS says it. The platform gives a function new ones before, so a function tries again. */
const expired = /^(ExpiredToken(Exception)?|RequestExpired)$/;
/** As the SDK says it, when what it keeps of a login is over. */
const loginOver = /expired|aws sso login/i;
const notFound = /^(CredentialsProviderError|TokenProviderError|MissingAuthenticationToken.*)$/;
/** Keys of nobody, and keys in a region that their account has not enabled, look alike. */
const notKnown = /^(UnrecognizedClientException|InvalidClientTokenId)$/;
/** EC2's word for it, which it also uses for a resource of another account. */
const notValidated = 'validate the provided access credentials';

/** @param name of the error, as AWS or the SDK has it */
export function credentialsFault(name: string, message: string): CredentialsFault | undefined {
  if (expired.test(name)) return { ...over(), canPass: true };
  if (notFound.test(name)) return { ...(loginOver.test(message) ? over() : none()), canPass: false };
  if (notKnown.test(name) || (name === 'AuthFailure' && message.includes(notValidated))) {
    return { ...unknown, canPass: false };
  }
  return message.startsWith('Region is missing') ? { ...noRegion, canPass: false } : undefined;
}

/** It then concerns every call, and no node. */
export const isOfCredentials = ({ code }: { readonly code: string }): boolean =>
  code === 'no-credentials' || code === 'expired-credentials';

const login = () => `aws sso login --profile ${profile()}`;

const over = () => ({
  code: 'expired-credentials' as const,
  advice: `Log in again with \`${login()}\`, or renew the keys with \`aws configure\`.`,
});

const none = () => ({
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
