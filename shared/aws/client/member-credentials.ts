import { AssumeRoleCommand, STSClient } from '@aws-sdk/client-sts';
import { PermanentError } from '../../core/model/errors';
import { definedOnly } from '../../core/util/collections';
import { call, clientSettings } from './call';

const assumeRoleTimeoutMs = 20_000;

/**
 * A credentials provider that assumes a role in another account. The SDK caches what it returns until shortly before
 * it expires.
 * @throws PeermasqError that names the role
 */
export function memberCredentials(region: string, role: string) {
  const sts = new STSClient({ region, ...clientSettings });
  return async () => {
    const { Credentials } = await call('sts:AssumeRole', Date.now() + assumeRoleTimeoutMs, (options) =>
      sts.send(new AssumeRoleCommand({ RoleArn: role, RoleSessionName: 'peermasq' }), options),
    );
    const { AccessKeyId, SecretAccessKey, SessionToken, Expiration } = Credentials ?? {};
    if (AccessKeyId === undefined || SecretAccessKey === undefined) throw noKeys(role);
    return {
      accessKeyId: AccessKeyId,
      secretAccessKey: SecretAccessKey,
      ...definedOnly({ sessionToken: SessionToken, expiration: Expiration }),
    };
  };
}

const noKeys = (role: string) =>
  new PermanentError(
    'no-credentials',
    `STS returned no keys for ${role}`,
    'Check the role and its trust policy.',
  );
