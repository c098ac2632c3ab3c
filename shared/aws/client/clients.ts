import { AutoScalingClient } from '@aws-sdk/client-auto-scaling';
import { EC2Client } from '@aws-sdk/client-ec2';
import { SQSClient } from '@aws-sdk/client-sqs';
import { SSMClient } from '@aws-sdk/client-ssm';
import { countCalls } from './api-calls';
import { clientSettings } from './call';
import { memberCredentials } from './member-credentials';
import { limitRate, type RateLimitedWait } from './rate-limiter';

/** The clients of one region of one account. */
export interface Clients {
  readonly region: string;
  readonly ec2: EC2Client;
  readonly ssm: SSMClient;
  readonly sqs: SQSClient;
  readonly autoScaling: AutoScalingClient;
  /** To be awaited before each SendCommand. */
  readonly waitToSend: RateLimitedWait;
}

/**
 * Each client is made when it is first used. Endpoints: the SDK's AWS_ENDPOINT_URL_EC2, _SSM, _SQS, _AUTO_SCALING
 * and _STS.
 * @param memberRole the ARN of the role to assume; without it the process acts as itself
 */
export function makeClients(region: string, memberRole?: string): Clients {
  const config = {
    region,
    ...clientSettings,
    ...(memberRole !== undefined && { credentials: memberCredentials(region, memberRole) }),
  };
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

function lazy<T>(make: () => T): () => T {
  let made: T | undefined;
  return () => (made ??= make());
}

/**
 * Two processes of a function that send at this rate stay below the five a second that SendCommand bears (not
 * published; observed, and what the bench plays). Beyond it there are the SDK's retries, then the queue.
 */
const commandsPerSecond = 2;
const commandBurst = 2;

const clientsByKey = new Map<string, Clients>();

/** The clients of this process for a region and a role. */
export function getClients(region: string, memberRole?: string): Clients {
  const key = memberRole ?? region;
  const clients = clientsByKey.get(key) ?? makeClients(region, memberRole);
  clientsByKey.set(key, clients);
  return clients;
}
