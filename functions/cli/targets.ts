import type { Inspection, Reach } from '../../shared/core/cloud';
import type { Dependencies } from '../../shared/core/reconcile/reconcile';

export type CloudName = 'aws' | 'gcp';

/** One AWS region or one Google Cloud project, accessed with the user's own credentials. */
export interface Target extends Dependencies {
  /** `aws us-east-1`, `gcp identity-nonprod`. */
  readonly name: string;
  readonly inspection: Inspection;
  readonly reach: Reach;
}

/** The options of every command that calls a cloud. */
export interface TargetOptions {
  readonly config?: string;
  readonly cloud?: CloudName;
  readonly region?: readonly string[];
  readonly profile?: string;
  readonly project?: readonly string[];
  readonly stage: string;
  readonly cluster?: readonly string[];
  /** Seconds. */
  readonly timeout: number;
  readonly debug?: boolean;
}
