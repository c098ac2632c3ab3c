import { setTimeout as pause } from 'node:timers/promises';
import { nodeKey } from '../../../shared/core/node';
import { retryAfterSeconds, type Outcome } from '../../../shared/core/outcome';
import type { Deadline } from '../../../shared/core/ports';

/** Looks again at what is not ready, when it may be, for as long as there is time. */
export async function untilEnded<Ref extends Outcome['node']>(
  refs: readonly Ref[],
  look: (refs: Ref[]) => Promise<readonly Outcome[]>,
  deadline: Deadline,
): Promise<readonly Outcome[]> {
  const ended = new Map<string, Outcome>();
  let open = [...refs];
  for (;;) {
    for (const outcome of await look(open)) ended.set(nodeKey(outcome.node), outcome);
    open = open.filter((ref) => ended.get(nodeKey(ref))?.kind === 'pending');
    const waits = open.flatMap((ref) => {
      const outcome = ended.get(nodeKey(ref));
      return outcome ? (retryAfterSeconds(outcome) ?? []) : [];
    });
    const waitMs = Math.min(...waits) * 1_000;
    if (open.length === 0 || Date.now() + waitMs >= deadline) return [...ended.values()];
    await pause(waitMs);
  }
}
