import { pass, type Dependencies, type Options, type Pass, type Selection } from '../shared/core/reconcile';

/**
 * A pass for each account or project; a fault in one does not keep the others from theirs.
 * @returns what the passes that came to an end tell, and every fault: those that ended a pass first
 */
export async function passEach(
  all: readonly Dependencies[],
  selection: Selection,
  options: Options,
): Promise<{ done: Pass[]; faults: unknown[] }> {
  const passes = await Promise.allSettled(all.map((dependencies) => pass(selection, dependencies, options)));
  const done = passes.flatMap((one) => (one.status === 'fulfilled' ? one.value : []));
  const ending = passes.flatMap((one) => (one.status === 'rejected' ? [one.reason as unknown] : []));
  return { done, faults: [...ending, ...done.flatMap((one) => one.faults)] };
}
