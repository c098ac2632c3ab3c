import type { Buckets } from './buckets';
import type { LabRole } from './policy';
import type { AwsRefusal, AwsState } from './state';

export interface Call {
  readonly action: string;
  readonly input: unknown;
}

/** Answers that a test asks for: the next `times` calls of an action are refused. */
export interface Fault {
  readonly action: string;
  readonly refusal: AwsRefusal;
  times: number;
}

/** One region of one account. */
export interface Context {
  readonly state: AwsState;
  readonly calls: Call[];
  readonly faults: Fault[];
  readonly buckets: Buckets;
  /** Commands go on after the answer; whoever stops the doubles waits for them. */
  readonly running: Set<Promise<void>>;
  readonly stopping: AbortSignal;
  readonly emit: (event: object) => void;
}

/** What an access key stands for. */
export interface Identity {
  readonly account: Context;
  /** Without one it may do everything. */
  readonly role?: LabRole;
  /** Of temporary credentials only, like the next. */
  readonly sessionToken?: string;
  /** Milliseconds since the epoch. */
  readonly expiresAt?: number;
}

/** Everything behind the port. */
export interface Lab {
  readonly region: string;
  /** By access key. */
  readonly identities: Map<string, Identity>;
  /** The accounts that roles lead into, by the ARN of the role. One of which no more is known may be assumed by anybody. */
  readonly roles: Map<string, Pick<Identity, 'account' | 'role'>>;
  /** Whether the token buckets count. */
  isLimited: boolean;
}
