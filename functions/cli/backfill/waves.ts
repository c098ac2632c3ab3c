import { nodeKey, type NodeKey } from '../../../shared/core/node';
import type { Outcome } from '../../../shared/core/outcome';
import type { Planned } from '../plan';

export interface WaveOptions {
  /** How many nodes go first, alone. */
  readonly canary: number;
  /** How many go at a time after them. */
  readonly wave: number;
  /** More nodes than this that fail, and no further wave begins. */
  readonly maxFailures: number;
}

export interface Progress {
  readonly wave: number;
  readonly waves: number;
  readonly nodes: readonly Planned[];
}

export interface Waved {
  /** What became of the nodes whose wave began. */
  readonly outcomes: ReadonlyMap<NodeKey, Outcome>;
  readonly untouched: readonly Planned[];
  /** Why waves were left out. */
  readonly stoppedFor?: string;
}

/**
 * Pushes to nodes a wave at a time: canaries first, then the others. A wave begins when the one before has ended,
 * so that at any moment it is known which nodes were touched.
 * @param push brings the nodes of a wave to what they are to have, and tells what became of each
 * @param isStopped somebody wants no further wave
 */
export async function inWaves(
  nodes: readonly Planned[],
  { canary, wave: size, maxFailures }: WaveOptions,
  push: (progress: Progress) => Promise<readonly Outcome[]>,
  isStopped: () => boolean,
): Promise<Waved> {
  const waves = split(nodes, canary, size);
  const outcomes = new Map<NodeKey, Outcome>();
  let stoppedFor: string | undefined;
  let begun = 0;
  while (begun < waves.length && stoppedFor === undefined) {
    const wave = waves[begun] ?? [];
    begun += 1;
    const pushed = await push({ wave: begun, waves: waves.length, nodes: wave });
    for (const outcome of pushed) outcomes.set(nodeKey(outcome.node), outcome);
    stoppedFor = isStopped()
      ? 'it was interrupted'
      : whyStop([...outcomes.values()], begun === 1 && canary > 0, maxFailures);
  }
  const untouched = waves.slice(begun).flat();
  return { outcomes, untouched, ...(untouched.length > 0 && stoppedFor !== undefined && { stoppedFor }) };
}

function split(nodes: readonly Planned[], canary: number, size: number): Planned[][] {
  const waves = canary > 0 ? [nodes.slice(0, canary)] : [];
  for (let at = canary; at < nodes.length; at += size) waves.push(nodes.slice(at, at + size));
  return waves.filter(({ length }) => length > 0);
}

/** A canary must have come to a good end; of the others some may fail. */
function whyStop(outcomes: readonly Outcome[], isCanary: boolean, maxFailures: number): string | undefined {
  const isGood = ({ kind }: Outcome) => kind === 'proven' || kind === 'needs-reboot' || kind === 'skipped';
  const bad = outcomes.find((outcome) => !isGood(outcome));
  if (isCanary && bad) return `the canary ${nodeKey(bad.node)} is ${bad.kind}`;
  const failed = outcomes.filter(({ kind }) => kind === 'failed').length;
  return failed > maxFailures ? `${failed} failed, where ${maxFailures} may` : undefined;
}
