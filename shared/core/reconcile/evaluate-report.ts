import type { ProofResult, PushResult, PushedNode } from '../cloud';
import { PermanentError, RetryableError } from '../model/errors';
import type { Report } from '../model/report';
import type { Warning } from './check-eligibility';
import type { Outcome, Subject } from './outcome';

/** The rule set that the node was sent. */
export interface Expected {
  readonly id: string;
  readonly generation: number;
  readonly warnings: readonly Warning[];
}

type PushOutcomeKind = 'pending' | 'failed' | 'needs-reboot' | 'proven';
type WithoutSubject<T> = T extends unknown ? Omit<T, keyof Subject> : never;
export type PushOutcome = WithoutSubject<Extract<Outcome, { kind: PushOutcomeKind }>>;

/** The outcome of a push, from its proof or from its failure. */
export function outcomeOf(
  response: Exclude<PushResult, PushedNode> | ProofResult,
  expected: Expected,
): PushOutcome {
  switch (response.result) {
    case 'failed':
      return { kind: 'failed', error: response.error };
    case 'not-ready':
    case 'no-report':
      return { kind: 'pending', reason: response.reason, retryAfterSeconds: response.retryAfterSeconds };
    case 'no-watcher':
      return { kind: 'needs-reboot', reason: response.reason, restart: response.restart };
    case 'reported': {
      const { report } = response;
      const outcome = evaluateReport(report, expected);
      return outcome.kind === 'failed' ? { ...outcome, report } : outcome;
    }
  }
}

/** Whether a report proves the expected rule set. */
function evaluateReport(report: Report, expected: Expected): PushOutcome {
  const reason = report.reason ?? 'no reason given';
  switch (report.result) {
    case 'busy':
      return { kind: 'pending', reason: `The node is busy: ${reason}.`, retryAfterSeconds: 15 };
    case 'failed':
      return {
        kind: 'failed',
        error: new RetryableError(
          'apply-failed',
          `The node could not apply the rule set: ${reason}`,
          'The previous rules are still in force. Fix the cause; the next sweep retries.',
          60,
        ),
      };
    case 'refused':
      return evaluateRefusal(report, { expected, reason });
    case 'applied':
    case 'unchanged':
      return evaluateApplied(report, { expected, reason });
  }
}

interface Evaluation {
  readonly expected: Expected;
  readonly reason: string;
}

function evaluateRefusal({ generation }: Report, { expected, reason }: Evaluation): PushOutcome {
  // A concurrent push was faster, possibly with the same rules.
  if (generation !== null && generation >= expected.generation) {
    return { kind: 'pending', reason: 'The node already has a newer rule set.', retryAfterSeconds: 5 };
  }
  return {
    kind: 'failed',
    error: new PermanentError(
      'refused',
      `The node refused the rule set: ${reason}`,
      'Nothing was changed on the node. Fix the config and push again.',
    ),
  };
}

function evaluateApplied(report: Report, { expected, reason }: Evaluation): PushOutcome {
  const { id, warnings } = expected;
  if (report.id !== id)
    return { kind: 'pending', reason: 'The node reported another rule set.', retryAfterSeconds: 5 };
  if (report.proven) return { kind: 'proven', ruleSetId: id, report, warnings };
  return {
    kind: 'failed',
    error: new RetryableError(
      'not-proven',
      `The rules are applied but not proven: ${reason}`,
      'If a probe failed, check firewalls, the return route and the service itself.',
      60,
    ),
  };
}
