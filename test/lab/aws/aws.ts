import { makeAccount, type LabAccount, type Shared } from './account';
import type { Call, Context, Lab } from './context';
import type { LabRole } from './policy';
import { serve } from './server';
import { issueKeys, roleArn } from './sts';

/** The role that leads into an account. Of its name alone: anybody may assume it, and may do everything then. */
export type MemberRole = LabRole | Pick<LabRole, 'roleName'>;

/** One region of AWS on a loopback port. The handle is that of the account which the credentials are of. */
export interface LabAws extends LabAccount {
  /** Where all services answer; also the beginning of the URL of a queue. */
  readonly url: string;
  /** Set these for the official clients. */
  readonly env: Readonly<Record<string, string>>;
  /** Receives the events that SSM emits, those of further accounts too, as their buses forward them. */
  onEvent: (event: object) => void;
  /** Another account, which is reached with the credentials alone that AssumeRole of its role returned. */
  addAccount(id: string, role: MemberRole): LabAccount;
  /** Environment of a process that acts as a role of this account, instead of one that may do everything. */
  actAs(role: LabRole): Readonly<Record<string, string>>;
  /** The calls to all accounts. */
  readonly allCalls: readonly Call[];
  /** From now on a call beyond the published token buckets is throttled. */
  limitCalls(): void;
  /** Calls to all accounts that were throttled for that. */
  readonly overdrawn: number;
  /** Resolves when every command in every account has ended. */
  settled(): Promise<void>;
  /** The URL of a queue of this account. */
  queueUrl(name: string): string;
  close(): Promise<void>;
}

export const labAccount = '123456789012';
export const labRegion = 'us-east-1';

const accessKeyId = 'AKIAIOSFODNN7EXAMPLE';

export async function startAws(): Promise<LabAws> {
  const lab: Lab = { region: labRegion, identities: new Map(), roles: new Map(), isLimited: false };
  const stop = new AbortController();
  let made = 0;
  const shared: Shared = {
    region: labRegion,
    stopping: stop.signal,
    emit: (event) => {
      aws.onEvent(event);
    },
    nextInstance: () => (made += 1),
  };
  const home = makeAccount(labAccount, shared);
  const contexts: Context[] = [home.context];
  lab.identities.set(accessKeyId, { account: home.context });
  const served = await serve(lab);

  const aws: LabAws = {
    ...home.account,
    url: served.url,
    env: environment(served.url),
    onEvent: () => undefined,
    addAccount(id, role) {
      const { account, context } = makeAccount(id, shared);
      contexts.push(context);
      const known = 'grants' in role ? { role } : {};
      lab.roles.set(roleArn(id, role.roleName), { account: context, ...known });
      return account;
    },
    actAs(role) {
      const { accessKeyId, secretAccessKey, sessionToken } = issueKeys(lab, { account: home.context, role });
      return {
        AWS_ACCESS_KEY_ID: accessKeyId,
        AWS_SECRET_ACCESS_KEY: secretAccessKey,
        AWS_SESSION_TOKEN: sessionToken,
      };
    },
    get allCalls() {
      return contexts.flatMap(({ calls }) => calls);
    },
    limitCalls() {
      lab.isLimited = true;
    },
    get overdrawn() {
      return contexts.reduce((sum, { buckets }) => sum + buckets.overdrawn, 0);
    },
    async settled() {
      const running = () => contexts.flatMap((context) => [...context.running]);
      while (running().length > 0) await Promise.all(running());
    },
    queueUrl: (name) => `${served.url}/${labAccount}/${name}`,
    async close() {
      stop.abort();
      await served.close();
      await aws.settled();
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
