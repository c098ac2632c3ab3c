import { nodeKey, type NodeKey } from '../../../shared/core/model/node';
import type { Outcome } from '../../../shared/core/reconcile/outcome';
import { definedOnly } from '../../../shared/core/util/collections';
import type { PlannedChange } from '../dry-run';

export interface WaveOptions {
  /** Number of nodes in the first wave; 0 for no canary. */
  readonly canary: number;
  /** Number of nodes in each later wave. */
  readonly wave: number;
  readonly maxFailures: number;
}

export interface Wave {
  /** The number of the wave, starting at 1. */
  readonly number: number;
  readonly total: number;
  readonly nodes: readonly PlannedChange[];
}

export interface WaveResult {
  /** The outcomes of the nodes in all waves that were started. */
  readonly outcomes: ReadonlyMap<NodeKey, Outcome>;
  readonly untouched: readonly PlannedChange[];
  /** Why no further wave was started; absent when every wave was started. */
  readonly stopReason?: string;
}

export interface WaveRunner {
  readonly push: (wave: Wave) => Promise<readonly Outcome[]>;
  readonly isInterrupted: () => boolean;
}

/** Pushes one wave at a time, so that it is always known which nodes were touched. */
export async function runInWaves(
  nodes: readonly PlannedChange[],
  options: WaveOptions,
  { push, isInterrupted }: WaveRunner,
): Promise<WaveResult> {
  const waves = splitIntoWaves(nodes, options);
  const outcomes = new Map<NodeKey, Outcome>();
  let stopReason: string | undefined;
  let started = 0;
  for (const wave of waves) {
    if (stopReason !== undefined) break;
    started += 1;
    const pushed = await push({ number: started, total: waves.length, nodes: wave });
    for (const outcome of pushed) outcomes.set(nodeKey(outcome.node), outcome);
    stopReason = isInterrupted() ? 'interrupted' : findStopReason([...outcomes.values()], started, options);
  }
  const untouched = waves.slice(started).flat();
  return {
    outcomes,
    untouched,
    ...definedOnly({ stopReason: untouched.length > 0 ? stopReason : undefined }),
  };
}

function splitIntoWaves(
  nodes: readonly PlannedChange[],
  { canary, wave: size }: WaveOptions,
): PlannedChange[][] {
  const waves = canary > 0 ? [nodes.slice(0, canary)] : [];
  for (let start = canary; start < nodes.length; start += size) waves.push(nodes.slice(start, start + size));
  return waves.filter(({ length }) => length > 0);
}

const successful: ReadonlySet<Outcome['kind']> = new Set(['proven', 'needs-reboot', 'skipped']);

/** In the canary wave, every node must be proven. In the other waves, up to `maxFailures` nodes may fail. */
function findStopReason(
  outcomes: readonly Outcome[],
  started: number,
  { canary, maxFailures }: WaveOptions,
): string | undefined {
  const isCanaryWave = started === 1 && canary > 0;
  const unsuccessful = outcomes.find(({ kind }) => !successful.has(kind));
  if (isCanaryWave && unsuccessful) return `canary ${nodeKey(unsuccessful.node)} is ${unsuccessful.kind}`;
  const failed = outcomes.filter(({ kind }) => kind === 'failed').length;
  return failed > maxFailures ? `${failed} failed, --max-failures is ${maxFailures}` : undefined;
}
