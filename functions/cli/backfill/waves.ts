import { nodeKey, type NodeKey } from '../../../shared/core/model/node';
import type { Outcome } from '../../../shared/core/reconcile/outcome';
import type { PlannedChange } from '../plan';

export interface WaveOptions {
  /** How many nodes go first, alone. */
  readonly canary: number;
  /** How many go at a time after them. */
  readonly wave: number;
  /** More nodes than this that fail, and no further wave begins. */
  readonly maxFailures: number;
}

export interface WaveProgress {
  readonly wave: number;
  readonly waves: number;
  readonly nodes: readonly PlannedChange[];
}

export interface WaveResult {
  /** What became of the nodes whose wave began. */
  readonly outcomes: ReadonlyMap<NodeKey, Outcome>;
  readonly untouched: readonly PlannedChange[];
  /** Why waves were left out. */
  readonly stopReason?: string;
}

/**
 * Pushes to nodes a wave at a time: canaries first, then the others. A wave begins when the one before has ended,
 * so that at any moment it is known which nodes were touched.
 * @param push brings the nodes of a wave to what they are to have, and tells what became of each
 * @param isStopped somebody wants no further wave
 */
export async function runInWaves(
  nodes: readonly PlannedChange[],
  { canary, wave: size, maxFailures }: WaveOptions,
  push: (progress: WaveProgress) => Promise<readonly Outcome[]>,
  isStopped: () => boolean,
): Promise<WaveResult> {
  const waves = splitIntoWaves(nodes, canary, size);
  const outcomes = new Map<NodeKey, Outcome>();
  let stopReason: string | undefined;
  let started = 0;
  while (started < waves.length && stopReason === undefined) {
    const wave = waves[started] ?? [];
    started += 1;
    const pushed = await push({ wave: started, waves: waves.length, nodes: wave });
    for (const outcome of pushed) outcomes.set(nodeKey(outcome.node), outcome);
    stopReason = isStopped()
      ? 'it was interrupted'
      : findStopReason([...outcomes.values()], started === 1 && canary > 0, maxFailures);
  }
  const untouched = waves.slice(started).flat();
  return { outcomes, untouched, ...(untouched.length > 0 && stopReason !== undefined && { stopReason }) };
}

function splitIntoWaves(nodes: readonly PlannedChange[], canary: number, size: number): PlannedChange[][] {
  const waves = canary > 0 ? [nodes.slice(0, canary)] : [];
  for (let at = canary; at < nodes.length; at += size) waves.push(nodes.slice(at, at + size));
  return waves.filter(({ length }) => length > 0);
}

/** A canary must have come to a good end; of the others some may fail. */
function findStopReason(
  outcomes: readonly Outcome[],
  isCanary: boolean,
  maxFailures: number,
): string | undefined {
  const isSuccessful = ({ kind }: Outcome) =>
    kind === 'proven' || kind === 'needs-reboot' || kind === 'skipped';
  const unsuccessful = outcomes.find((outcome) => !isSuccessful(outcome));
  if (isCanary && unsuccessful) return `the canary ${nodeKey(unsuccessful.node)} is ${unsuccessful.kind}`;
  const failed = outcomes.filter(({ kind }) => kind === 'failed').length;
  return failed > maxFailures ? `${failed} failed, where ${maxFailures} may` : undefined;
}
