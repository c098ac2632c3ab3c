import type { Evaluation } from '../simulate/trace';
import type { RootCause } from './root-cause';
import { formatRuleName } from './trace';

/** Returns what the rules' counters say. */
export const gatherEvidence = ({ rules }: RootCause): string[] => rules.flatMap(describeCounter);

/** In table nat, only the first packet of each connection is counted. */
function describeCounter(evaluation: Evaluation): string[] {
  const { packets } = evaluation.rule;
  if (packets === undefined) return [];
  const unit = evaluation.baseChain.isNat ? 'connection' : 'packet';
  return [`${packets} ${unit}${packets === 1 ? ' has' : 's have'} matched ${formatRuleName(evaluation)}.`];
}
