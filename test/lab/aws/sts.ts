import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import type { Identity, Lab } from './context';
import { answerQuery, type Fields } from './query';
import { denial } from './refusals';

/** https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html */
const assumeInput = z.strictObject({
  RoleArn: z.string().regex(/^arn:aws:iam::[0-9]{12}:role\/[\w+=,.@/-]{1,512}$/),
  RoleSessionName: z.string().regex(/^[\w+=,.@-]{2,64}$/),
  // An hour is what a role allows unless it says more, and all that a role may ask of another.
  DurationSeconds: z.coerce.number().int().min(900).max(3_600).default(3_600),
});

function assumeRole({ roles, identities }: Lab, caller: Identity, fields: Fields) {
  const { RoleArn, RoleSessionName, DurationSeconds } = assumeInput.parse(fields);
  const account = roles.get(RoleArn);
  if (!account) throw denial('sts:AssumeRole', caller.account.state.account, RoleArn);
  const accessKeyId = `ASIA${randomBytes(8).toString('hex').toUpperCase()}`;
  const sessionToken = randomBytes(96).toString('base64');
  const expiresAt = Date.now() + DurationSeconds * 1_000;
  identities.set(accessKeyId, { account, sessionToken, expiresAt });
  const role = RoleArn.split('/').at(-1) ?? '';
  return {
    AssumedRoleUser: {
      AssumedRoleId: `AROAEXAMPLEEXAMPLEEXA:${RoleSessionName}`,
      Arn: `arn:aws:sts::${account.state.account}:assumed-role/${role}/${RoleSessionName}`,
    },
    Credentials: {
      AccessKeyId: accessKeyId,
      SecretAccessKey: randomBytes(30).toString('base64'),
      SessionToken: sessionToken,
      Expiration: new Date(expiresAt).toISOString(),
    },
  };
}

/** The XML of the answer. @throws AwsRefusal */
export function answerSts(
  lab: Lab,
  caller: Identity,
  action: string,
  fields: Fields,
  requestId: string,
): string {
  return answerQuery({ AssumeRole: (given) => assumeRole(lab, caller, given) }, action, fields, requestId);
}
