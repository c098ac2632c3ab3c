import type { Inspection, Reach } from '../../shared/core/cloud';
import type { Dependencies } from '../../shared/core/reconcile/reconcile';

export type CloudName = 'aws' | 'gcp';

/** One AWS region or one Google Cloud project, accessed with the user's own credentials. */
export interface Target extends Dependencies {
  /** The name in messages, such as `aws us-east-1` or `gcp identity-nonprod`. */
  readonly name: string;
  readonly inspection: Inspection;
  readonly reach: Reach;
}

/** The options that are common to all commands that call a cloud. */
export interface TargetOptions {
  readonly config?: string;
  readonly cloud?: CloudName;
  readonly region?: readonly string[];
  readonly profile?: string;
  readonly project?: readonly string[];
  readonly stage: string;
  readonly cluster?: readonly string[];
  /** The time limit for calls to the clouds, in seconds. */
  readonly timeout: number;
  readonly debug?: boolean;
}
