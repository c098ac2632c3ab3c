/** The names of log events. docs/glossary.md explains them; alerts and dashboards filter on them. */
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

/** A structured log, whose entries have a fixed event name and fields. */
export interface Log {
  info(event: LogEvent, fields: Record<string, unknown>): void;
  warn(event: LogEvent, fields: Record<string, unknown>): void;
  error(event: LogEvent, fields: Record<string, unknown>): void;
}
