import { setTimeout as sleep } from 'node:timers/promises';
import { AutoScalingClient } from '@aws-sdk/client-auto-scaling';
import { EC2Client } from '@aws-sdk/client-ec2';
import { SQSClient } from '@aws-sdk/client-sqs';
import { SSMClient } from '@aws-sdk/client-ssm';
import { AssumeRoleCommand, STSClient } from '@aws-sdk/client-sts';
import type { Deadline } from '../../core/cloud';
import { PermanentError } from '../../core/model/errors';
import { definedOnly } from '../../core/util/collections';
import { lazy, memoize } from '../../core/util/functional';
import { makeRateLimiter } from '../../core/util/api-calls';
import { call, clientSettings, countCalls } from './call';

/** The SDK clients for one region and one account. */
export interface Clients {
  readonly region: string;
  readonly ec2: EC2Client;
  readonly ssm: SSMClient;
  readonly sqs: SQSClient;
  readonly autoScaling: AutoScalingClient;
  /** Waits for the rate limit. Callers must await this function before each SendCommand. */
  readonly waitToSend: RateLimitedWait;
}

/** Clients, and the deadline for their calls. */
export interface Access {
  readonly clients: Clients;
  readonly deadline: Deadline;
}

/**
 * Returns the clients, each of which is created on first use. The SDK reads custom endpoints from AWS_ENDPOINT_URL_EC2,
 * _SSM, _SQS, _AUTO_SCALING and _STS.
 * @param memberRole the ARN of a role to assume; without it, the process uses its own credentials
 */
export function makeClients(region: string, memberRole?: string): Clients {
  const credentials = memberRole === undefined ? undefined : memberCredentials(region, memberRole);
  const config = { region, ...clientSettings, ...definedOnly({ credentials }) };
  const ec2 = lazy(() => countCalls(new EC2Client(config)));
  const ssm = lazy(() => countCalls(new SSMClient(config)));
  const sqs = lazy(() => new SQSClient(config));
  const autoScaling = lazy(() => countCalls(new AutoScalingClient(config)));
  return {
    region,
    get ec2() {
      return ec2();
    },
    get ssm() {
      return ssm();
    },
    get sqs() {
      return sqs();
    },
    get autoScaling() {
      return autoScaling();
    },
    waitToSend: limitRate(commandBurst, 1_000 / commandsPerSecond),
  };
}

/**
 * SendCommand allows about five calls per second (observed, not published). Two processes of a function stay below that
 * limit. If there are more processes and they are throttled, first the SDK and then the queue retries.
 */
const commandsPerSecond = 2;
const commandBurst = 2;

const clientsOfRegion = memoize((region: string) =>
  memoize((memberRole: string | undefined) => makeClients(region, memberRole)),
);

/** Returns this process's clients for a region and a role. */
export function getClients(region: string, memberRole?: string): Clients {
  return clientsOfRegion(region)(memberRole);
}

/** Resolves when the rate limit allows the next call, or at the deadline. */
type RateLimitedWait = (deadline: Deadline) => Promise<void>;

export function limitRate(burst: number, intervalMs: number): RateLimitedWait {
  const limiter = makeRateLimiter(burst, intervalMs);
  return async (deadline) => {
    const now = Date.now();
    const waitMs = Math.min(limiter(now) ?? 0, deadline - now);
    if (waitMs > 0) await sleep(waitMs);
  };
}

const assumeRoleTimeoutMs = 20_000;

/**
 * Returns a credentials provider that assumes a role in another account. The SDK caches the credentials until shortly
 * before they expire.
 * @throws PeermasqError that names the role
 */
function memberCredentials(region: string, role: string) {
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
  new PermanentError('no-credentials', `STS returned no keys for ${role}`, {
    advice: 'Check the role and its trust policy.',
  });
