import type { PortUse } from './report';

/**
 * The result of a push. `needs-reboot` means that no watcher runs on the node, so the node applies the rule set when
 * it next boots.
 */
export type PushState = 'proven' | 'failed' | 'needs-reboot';

/** The failure that is recorded by name: no push succeeds before someone has corrected a clock or the node. */
export type RecordedFailure = 'clock-skew';

/** The last push to a node, as recorded in the cloud. */
export interface LastPush {
  readonly state: PushState;
  readonly at: Date;
  readonly code?: RecordedFailure;
}

/** The rule set in force on a node, as recorded in the cloud. */
export interface RecordedState {
  readonly ruleSetId: string;
  /** Whether the node has proven the rule set, and has neither received another push nor restarted since then. */
  readonly isProven: boolean;
  /** The time at which the state was recorded. */
  readonly at?: Date;
  /** The number of discovered routes from which the rule set was computed. */
  readonly routes?: number;
  /** Whether this state comes from a new report of the node, and the record in the cloud is not up to date yet. */
  readonly isRecordOutdated?: boolean;
  /** The source ports in use. Present only if the node's report was read. */
  readonly ports?: readonly PortUse[];
}
