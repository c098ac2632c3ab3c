import type { RateLimits } from './rate-limits';
import type { LabRole } from './iam-policies';
import type { AwsApiError } from './api-error';
import type { AwsState } from './state';

export interface ApiCall {
  readonly action: string;
  readonly input: unknown;
}

/** An error that a test injected. The next `times` calls of an action fail with this error. */
export interface InjectedError {
  readonly action: string;
  readonly apiError: AwsApiError;
  times: number;
}

/** The state of an account in one region. */
export interface AccountContext {
  readonly state: AwsState;
  readonly calls: ApiCall[];
  readonly injectedErrors: InjectedError[];
  readonly rateLimits: RateLimits;
  /** The commands that are still running. The lab waits for these before it closes. */
  readonly running: Set<Promise<void>>;
  readonly stopSignal: AbortSignal;
  readonly emit: (event: object) => void;
}

/** The identity to which an access key belongs. */
export interface CallerIdentity {
  readonly account: AccountContext;
  /** The caller's role. A caller without a role may call everything. */
  readonly role?: LabRole;
  /** The session token; only temporary credentials have one. */
  readonly sessionToken?: string;
  /** When temporary credentials expire, in milliseconds since the epoch. */
  readonly expiresAt?: number;
}

/** The state of all services that the server provides. */
export interface ServerState {
  readonly region: string;
  /** The identities by access key. */
  readonly identities: Map<string, CallerIdentity>;
  /** The accounts by the ARN of their role. Every caller may assume a role that has no trust policy. */
  readonly roles: Map<string, Pick<CallerIdentity, 'account' | 'role'>>;
  /** Whether rate limits are enforced. */
  isRateLimited: boolean;
}
