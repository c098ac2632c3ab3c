import type { RateLimits } from './rate-limits';
import type { LabRole } from './iam-policies';
import type { AwsApiError, AwsState } from './state';

export interface ApiCall {
  readonly action: string;
  readonly input: unknown;
}

/** Answers that a test asks for: the next `times` calls of an action are refused. */
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
  /** Commands go on after the answer; whoever stops the doubles waits for them. */
  readonly running: Set<Promise<void>>;
  readonly stopSignal: AbortSignal;
  readonly emit: (event: object) => void;
}

/** What an access key stands for. */
export interface CallerIdentity {
  readonly account: AccountContext;
  /** Without one it may do everything. */
  readonly role?: LabRole;
  /** Of temporary credentials only, like the next. */
  readonly sessionToken?: string;
  /** Milliseconds since the epoch. */
  readonly expiresAt?: number;
}

/** Everything behind the port. */
export interface ServerState {
  readonly region: string;
  /** By access key. */
  readonly identities: Map<string, CallerIdentity>;
  /** The accounts that roles lead into, by the ARN of the role. One of which no more is known may be assumed by anybody. */
  readonly roles: Map<string, Pick<CallerIdentity, 'account' | 'role'>>;
  /** Whether the token buckets count. */
  isRateLimited: boolean;
}
