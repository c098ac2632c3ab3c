/** The names are explained in docs/glossary.md; alerts and dashboards match them. */
export type LogEvent =
  | 'EventIgnored'
  | 'NodeJoined'
  | 'NodeSkipped'
  | 'NodePlanned'
  | 'NodePending'
  | 'NodeHeld'
  | 'RuleSetPushed'
  | 'NodeProven'
  | 'NodeFailed'
  | 'NodeTimedOut'
  | 'NodeNeedsReboot'
  | 'NodeRestarted'
  | 'PeeringChanged'
  | 'ClusterSwept'
  | 'SweepFinished'
  | 'ApiCallsCounted'
  | 'BackfillFailed'
  | 'RecordFailed'
  | 'ReconcileFailed'
  | 'LaunchCompleted'
  | 'LaunchCompletionFailed'
  | 'EventDeadLettered'
  | 'DeadLetterFailed'
  | 'RetryDelayFailed';

/** A structured log: a fixed event name and its fields. */
export interface Log {
  info(event: LogEvent, fields: Record<string, unknown>): void;
  warn(event: LogEvent, fields: Record<string, unknown>): void;
  error(event: LogEvent, fields: Record<string, unknown>): void;
}
