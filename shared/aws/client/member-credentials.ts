import { AssumeRoleCommand, STSClient } from '@aws-sdk/client-sts';
import { PermanentError } from '../../core/model/errors';
import { call, clientSettings } from './call';

/** The regional STS must answer within that, or the call that needs the credentials fails. */
const limitMs = 20_000;

/**
 * Credentials of a role in another account, for the SDK: it keeps them and asks again before they end.
 * @throws PeermasqError that names the role
 */
export function memberCredentials(region: string, role: string) {
  const sts = new STSClient({ region, ...clientSettings });
  return async () => {
    const { Credentials } = await call('sts:AssumeRole', Date.now() + limitMs, (options) =>
      sts.send(new AssumeRoleCommand({ RoleArn: role, RoleSessionName: 'peermasq' }), options),
    );
    const { AccessKeyId, SecretAccessKey, SessionToken, Expiration } = Credentials ?? {};
    if (AccessKeyId === undefined || SecretAccessKey === undefined) throw noKeys(role);
    return {
      accessKeyId: AccessKeyId,
      secretAccessKey: SecretAccessKey,
      ...(SessionToken !== undefined && { sessionToken: SessionToken }),
      ...(Expiration !== undefined && { expiration: Expiration }),
    };
  };
}

const noKeys = (role: string) =>
  new PermanentError(
    'no-credentials',
    `STS gave no keys for ${role}`,
    'Look at the role and who may assume it.',
  );
