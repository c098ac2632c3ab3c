import {
  reconcile,
  type Dependencies,
  type ReconcileOptions,
  type ReconcileResult,
  type Selection,
} from '../../shared/core/reconcile/reconcile';

/**
 * A pass for each account or project; a fault in one does not keep the others from theirs.
 * @returns what the passes that came to an end tell, and every fault: those that ended a pass first
 */
export async function reconcileEach(
  targets: readonly Dependencies[],
  selection: Selection,
  options: ReconcileOptions,
): Promise<{ results: ReconcileResult[]; errors: unknown[] }> {
  const settled = await Promise.allSettled(
    targets.map((dependencies) => reconcile(selection, dependencies, options)),
  );
  const results = settled.flatMap((one) => (one.status === 'fulfilled' ? one.value : []));
  const rejections = settled.flatMap((one) => (one.status === 'rejected' ? [one.reason as unknown] : []));
  return { results, errors: [...rejections, ...results.flatMap((one) => one.errors)] };
}
