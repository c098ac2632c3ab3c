import {
  reconcile,
  type Dependencies,
  type ReconcileOptions,
  type ReconcileResult,
  type Selection,
} from '../../shared/core/reconcile/reconcile';

/**
 * Reconciles each account or project. An error in one does not stop the others.
 * @returns the results of those that completed, and the errors of all
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
