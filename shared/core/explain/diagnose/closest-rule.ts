import type { RuleMatch } from '../model';
import type { Evaluation } from '../simulate/trace';
import { failedMatches, nearMisses } from './trace';

export interface ClosestRule {
  readonly evaluation: Evaluation;
  readonly failed: readonly RuleMatch[];
}

/** Returns the rule that came closest to masquerading the packet. */
export function findClosestRule(evaluations: readonly Evaluation[]): ClosestRule | undefined {
  const [closest] = nearMisses(evaluations)
    .map((evaluation) => ({ evaluation, failed: failedMatches(evaluation) }))
    .sort((a, b) => distance(a.failed) - distance(b.failed));
  return closest;
}

/**
 * Ranks rules that did not match. Fewer failed matches are closer. Among them, `! -d RANGE` is the closest, because the
 * rule would masquerade the packet to any destination outside that range; then a rule for other destinations; and a rule
 * for marked packets or for another connection state is the farthest, because it is meant for other packets.
 */
const distance = (failed: readonly RuleMatch[]): number =>
  failed.reduce((sum, match) => sum + 10 + distanceOf(match), 0);

function distanceOf(match: RuleMatch): number {
  if (testsDestination(match)) return match.isNegated ? 0 : 1;
  return match.kind === 'mark' || match.kind === 'state' ? 3 : 2;
}

const testsDestination = (match: RuleMatch): boolean =>
  (match.kind === 'address' && match.field === 'destination') ||
  (match.kind === 'set' && match.sides[0] === 'destination');
