import type { PortUse } from './report';

/** How a push ended. `needs-reboot`: no watcher runs on the node, so it applies the rule set at its next boot. */
export type PushState = 'proven' | 'failed' | 'needs-reboot';

/** The last push to a node, as recorded in the cloud. */
export interface LastPush {
  readonly state: PushState;
  readonly at: Date;
}

/** The rule set that a node has in force, as recorded in the cloud. */
export interface RecordedState {
  readonly ruleSetId: string;
  /** True only if the node has neither been pushed to nor restarted since it reported. */
  readonly isProven: boolean;
  /** When it was recorded. */
  readonly at?: Date;
  /** How many discovered routes the rule set was computed from. */
  readonly routes?: number;
  /** The node has just reported this itself; the record in the cloud is not updated yet. */
  readonly isRecordOutdated?: boolean;
  /** What the node reported, where its report was read. */
  readonly ports?: readonly PortUse[];
}
