import { makeAccount, type LabAccount, type AccountOptions } from './account';
import type { ApiCall, AccountContext, ServerState } from './server-state';
import type { LabRole } from './iam-policies';
import { startServer } from './server';
import { issueKeys, roleArn } from './sts';

/**
 * The role that gives access to an account. If only a name is given, anyone may assume the role, and it allows
 * everything.
 */
export type MemberRole = LabRole | Pick<LabRole, 'roleName'>;

/** One AWS region on a loopback port. The object itself is the account to which the default credentials belong. */
export interface LocalAws extends LabAccount {
  /** The endpoint of all services, which is also the prefix of queue URLs. */
  readonly url: string;
  /** Environment variables for the official clients. */
  readonly env: Readonly<Record<string, string>>;
  /** Called with every event that SSM emits, including events forwarded from other accounts. */
  onEvent: (event: object) => void;
  /** Adds an account that is accessible only with credentials from AssumeRole. */
  addAccount(id: string, role: MemberRole): LabAccount;
  /** Returns the environment of a process that runs with a role of this account instead of full access. */
  envForRole(role: LabRole): Readonly<Record<string, string>>;
  /** The calls to all accounts. */
  readonly allCalls: readonly ApiCall[];
  /** Enforces the published rate limits: calls that exceed a token bucket are throttled from now on. */
  enableRateLimits(): void;
  /** The number of calls, to all accounts, that exceeded a token bucket. */
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
