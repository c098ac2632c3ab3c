import type { Evaluation } from '../simulate/trace';
import { describeFlows } from './flows';
import type { RootCause, TracedPacket } from './root-cause';
import { formatRuleName } from './trace';

/** Returns what the counters of the rules and the tracked connections say. */
export const gatherEvidence = ({ snapshot, packet }: TracedPacket, { rules }: RootCause): string[] => [
  ...rules.flatMap(describeCounter),
  ...describeFlows(snapshot, packet),
];

/** In table nat, only the first packet of each connection is counted. */
function describeCounter(evaluation: Evaluation): string[] {
  const { packets } = evaluation.rule;
  if (packets === undefined) return [];
  const verb = packets === '1' ? 'packet has' : 'packets have';
  return [`${packets} ${verb} matched ${formatRuleName(evaluation)}.`];
}
