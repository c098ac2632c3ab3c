import type { RateLimits } from './rate-limits';
import type { LabRole } from './iam-policies';
import type { AwsApiError } from './api-error';
import type { AwsState } from './state';

export interface ApiCall {
  readonly action: string;
  readonly input: unknown;
}

/** Injected errors: the next `times` calls of an action are rejected. */
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
  /** Commands that are still running; closing the lab waits for them. */
  readonly running: Set<Promise<void>>;
  readonly stopSignal: AbortSignal;
  readonly emit: (event: object) => void;
}

/** The identity of an access key. */
export interface CallerIdentity {
  readonly account: AccountContext;
  /** Without a role it may do everything. */
  readonly role?: LabRole;
  /** Only for temporary credentials, like the next one. */
  readonly sessionToken?: string;
  /** Milliseconds since the epoch. */
  readonly expiresAt?: number;
}

/** Everything served on the port. */
export interface ServerState {
  readonly region: string;
  /** By access key. */
  readonly identities: Map<string, CallerIdentity>;
  /** Accounts by the ARN of their role. Anyone may assume a role without a trust policy. */
  readonly roles: Map<string, Pick<CallerIdentity, 'account' | 'role'>>;
  /** Whether token buckets are enforced. */
  isRateLimited: boolean;
}
