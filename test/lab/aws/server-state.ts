import type { RateLimits } from './rate-limits';
import type { LabRole } from './iam-policies';
import type { AwsApiError } from './api-error';
import type { AwsState } from './state';

export interface ApiCall {
  readonly action: string;
  readonly input: unknown;
}

/** An error that a test injected: the next `times` calls of an action are rejected with it. */
export interface InjectedError {
  readonly action: string;
  readonly apiError: AwsApiError;
  times: number;
}

/** One region of one account. */
export interface AccountContext {
  readonly state: AwsState;
  readonly calls: ApiCall[];
  readonly injectedErrors: InjectedError[];
  readonly rateLimits: RateLimits;
  /** Commands that are still running. The lab waits for them before it closes. */
  readonly running: Set<Promise<void>>;
  readonly stopSignal: AbortSignal;
  readonly emit: (event: object) => void;
}

/** The identity to which an access key belongs. */
export interface CallerIdentity {
  readonly account: AccountContext;
  /** The caller's role. A caller without a role may do everything. */
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
  /** The accounts by the ARN of their role. Anyone may assume a role that has no trust policy. */
  readonly roles: Map<string, Pick<CallerIdentity, 'account' | 'role'>>;
  /** Whether rate limits are enforced. */
  isRateLimited: boolean;
}
