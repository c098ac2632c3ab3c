import { randomBytes } from 'node:crypto';
import * as z from 'zod';
import type { CallerIdentity, ServerState } from './server-state';
import { handleQuery, type Fields } from './query-protocol';
import { isAllowed } from './iam-policies';
import { accessDenied } from './errors';

/** https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html */
const assumeInput = z.strictObject({
  RoleArn: z.string().regex(/^arn:aws:iam::[0-9]{12}:role\/[\w+=,.@/-]{1,512}$/),
  RoleSessionName: z.string().regex(/^[\w+=,.@-]{2,64}$/),
  // One hour is the default maximum for a role, and the limit for role chaining.
  DurationSeconds: z.coerce.number().int().min(900).max(3_600).default(3_600),
});

export const roleArn = (account: string, name: string) => `arn:aws:iam::${account}:role/${name}`;

/**
 * Creates temporary credentials.
 * @param expiresAt milliseconds since the epoch; without it, the credentials do not expire
 */
export function issueKeys(
  { identities }: ServerState,
  identity: Pick<CallerIdentity, 'account' | 'role'>,
  expiresAt = Number.POSITIVE_INFINITY,
) {
  const accessKeyId = `ASIA${randomBytes(8).toString('hex').toUpperCase()}`;
  const sessionToken = randomBytes(96).toString('base64');
  identities.set(accessKeyId, { ...identity, sessionToken, expiresAt });
  return { accessKeyId, secretAccessKey: randomBytes(30).toString('base64'), sessionToken };
}

/** Returns whether a role's trust policy allows the caller. */
function trusts({ role }: Pick<CallerIdentity, 'role'>, caller: CallerIdentity): boolean {
  if (!role) return true;
  const principal = caller.role && roleArn(caller.account.state.account, caller.role.roleName);
  const context = principal === undefined ? {} : { 'aws:PrincipalArn': principal };
  return isAllowed(role.trust, { action: 'sts:AssumeRole', resource: '*', context });
}

function assumeRole(lab: ServerState, caller: CallerIdentity, fields: Fields) {
  const { RoleArn, RoleSessionName, DurationSeconds } = assumeInput.parse(fields);
  const target = lab.roles.get(RoleArn);
  if (!target || !trusts(target, caller)) {
    throw accessDenied('sts:AssumeRole', caller.account.state.account, RoleArn, caller.role?.roleName);
  }
  const expiresAt = Date.now() + DurationSeconds * 1_000;
  const { accessKeyId, secretAccessKey, sessionToken } = issueKeys(lab, target, expiresAt);
  const role = RoleArn.split('/').at(-1) ?? '';
  return {
    AssumedRoleUser: {
      AssumedRoleId: `AROAEXAMPLEEXAMPLEEXA:${RoleSessionName}`,
      Arn: `arn:aws:sts::${target.account.state.account}:assumed-role/${role}/${RoleSessionName}`,
    },
    Credentials: {
      AccessKeyId: accessKeyId,
      SecretAccessKey: secretAccessKey,
      SessionToken: sessionToken,
      Expiration: new Date(expiresAt).toISOString(),
    },
  };
}

/**
 * Handles a call.
 * @returns the response as XML
 * @throws AwsRefusal
 */
export function handleSts(
  lab: ServerState,
  caller: CallerIdentity,
  action: string,
  fields: Fields,
  requestId: string,
): string {
  return handleQuery({ AssumeRole: (given) => assumeRole(lab, caller, given) }, action, fields, requestId);
}
