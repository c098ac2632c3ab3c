import type { Warning } from './check-eligibility';
import { PermanentError, RetryableError } from '../model/errors';
import type { Outcome } from './outcome';
import type { ProofResult, PushResult, PushedNode } from '../cloud';
import type { Report } from '../model/report';

/** The rule set that a node was sent. */
export interface Expected {
  readonly id: string;
  readonly generation: number;
  readonly warnings: readonly Warning[];
}

type PushOutcome =
  | Omit<Extract<Outcome, { kind: 'pending' }>, 'node'>
  | Omit<Extract<Outcome, { kind: 'failed' }>, 'node'>
  | Omit<Extract<Outcome, { kind: 'needs-reboot' }>, 'node'>
  | Omit<Extract<Outcome, { kind: 'proven' }>, 'node'>;

/** What a push that did not arrive, or what came back from one that did, says about the node. */
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
      const evaluated = evaluateReport(report, expected);
      return evaluated.kind === 'failed' ? { ...evaluated, report } : evaluated;
    }
  }
}

/** Whether a node's own words are a proof of the rule set that was meant for it. */
function evaluateReport(report: Report, { id, generation, warnings }: Expected): PushOutcome {
  const reason = report.reason ?? 'it gave no reason';
  switch (report.result) {
    case 'busy':
      return { kind: 'pending', reason: `The node is busy: ${reason}.`, retryAfterSeconds: 15 };
    case 'failed': {
      const advice = 'Read the reason; the rules that were in force before are still in force.';
      return {
        kind: 'failed',
        error: new RetryableError(
          'apply-failed',
          `The node could not apply the rule set: ${reason}`,
          advice,
          60,
        ),
      };
    }
    case 'refused':
      // Another pass was faster, be it with the same rule set.
      if (report.generation !== null && report.generation >= generation) {
        return { kind: 'pending', reason: 'The node already has a newer rule set.', retryAfterSeconds: 5 };
      }
      return {
        kind: 'failed',
        error: new PermanentError(
          'refused',
          `The node refused the rule set: ${reason}`,
          'Nothing was changed on the node. Read the reason, mend the config, push again.',
        ),
      };
    case 'applied':
    case 'unchanged':
      if (report.id !== id)
        return { kind: 'pending', reason: 'The node reports another rule set.', retryAfterSeconds: 5 };
      if (report.proven) return { kind: 'proven', ruleSetId: id, report, warnings };
      return {
        kind: 'failed',
        error: new RetryableError(
          'not-proven',
          `The rules are applied, but not proven: ${reason}`,
          'If a probe failed, look beyond the node: firewalls, routes back, the service itself.',
          60,
        ),
      };
  }
}
