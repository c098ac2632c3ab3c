import { makeAccount, type LabAccount, type AccountOptions } from './account';
import type { ApiCall, AccountContext, ServerState } from './server-state';
import type { LabRole } from './iam-policies';
import { startServer } from './server';
import { issueKeys, roleArn } from './sts';

/**
 * The role for access to an account. If it has only a name, every caller may assume it, and it allows all actions.
 */
export type MemberRole = LabRole | Pick<LabRole, 'roleName'>;

/** An AWS region that listens on a loopback port. The object itself is the account of the default credentials. */
export interface LocalAws extends LabAccount {
  /** The endpoint of all services, which is also the prefix of queue URLs. */
  readonly url: string;
  /** Environment variables for the official clients. */
  readonly env: Readonly<Record<string, string>>;
  /** A callback for every event that SSM emits, including events that are forwarded from other accounts. */
  onEvent: (event: object) => void;
  /** Adds an account that accepts only credentials from AssumeRole. */
  addAccount(id: string, role: MemberRole): LabAccount;
  /** Returns the environment variables for a process that has only the permissions of a role in this account. */
  envForRole(role: LabRole): Readonly<Record<string, string>>;
  /** The API calls to all accounts. */
  readonly allCalls: readonly ApiCall[];
  /** Enables the published rate limits: further calls are throttled if their token bucket is empty. */
  enableRateLimits(): void;
  /** The number of throttled calls to all accounts. */
  readonly callsOverLimit: number;
  /** Resolves when no command is running in any account. */
  waitForCommands(): Promise<void>;
  /** Returns the URL of a queue in this account. */
  queueUrl(name: string): string;
  close(): Promise<void>;
}

export const labAccount = '123456789012';
export const labRegion = 'us-east-1';

const accessKeyId = 'AKIAIOSFODNN7EXAMPLE';

export async function startLocalAws(): Promise<LocalAws> {
  const lab: ServerState = {
    region: labRegion,
    identities: new Map(),
    roles: new Map(),
    isRateLimited: false,
  };
  const stop = new AbortController();
  let made = 0;
  const shared: AccountOptions = {
    region: labRegion,
    stopSignal: stop.signal,
    emit: (event) => {
      aws.onEvent(event);
    },
    nextInstance: () => (made += 1),
  };
  const ownAccount = makeAccount(labAccount, shared);
  const contexts: AccountContext[] = [ownAccount.context];
  lab.identities.set(accessKeyId, { account: ownAccount.context });
  const server = await startServer(lab);

  const aws: LocalAws = {
    ...ownAccount.account,
    url: server.url,
    env: environment(server.url),
    onEvent: () => undefined,
    addAccount(id, role) {
      const { account, context } = makeAccount(id, shared);
      contexts.push(context);
      const known = 'grants' in role ? { role } : {};
      lab.roles.set(roleArn(id, role.roleName), { account: context, ...known });
      return account;
    },
    envForRole(role) {
      const { accessKeyId, secretAccessKey, sessionToken } = issueKeys(lab, {
        account: ownAccount.context,
        role,
      });
      return {
        AWS_ACCESS_KEY_ID: accessKeyId,
        AWS_SECRET_ACCESS_KEY: secretAccessKey,
        AWS_SESSION_TOKEN: sessionToken,
      };
    },
    get allCalls() {
      return contexts.flatMap(({ calls }) => calls);
    },
    enableRateLimits() {
      lab.isRateLimited = true;
    },
    get callsOverLimit() {
      return contexts.reduce((sum, { rateLimits }) => sum + rateLimits.callsOverLimit, 0);
    },
    async waitForCommands() {
      const running = () => contexts.flatMap((context) => [...context.running]);
      while (running().length > 0) await Promise.all(running());
    },
    queueUrl: (name) => `${server.url}/${labAccount}/${name}`,
    async close() {
      stop.abort();
      await server.close();
      await aws.waitForCommands();
    },
  };
  return aws;
}

function environment(url: string): Record<string, string> {
  const services = ['EC2', 'SSM', 'SQS', 'AUTO_SCALING', 'STS'];
  return {
    ...Object.fromEntries(services.map((service) => [`AWS_ENDPOINT_URL_${service}`, url])),
    AWS_REGION: labRegion,
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
  };
}
