import {
  reconcile,
  type Dependencies,
  type ReconcileOptions,
  type ReconcileResult,
  type Selection,
} from '../../shared/core/reconcile/reconcile';

/**
 * Reconciles each account or project separately. An error in one does not stop the others.
 * @returns the results of the accounts or projects that completed, and all errors
 */
export async function reconcileEach(
  targets: readonly Dependencies[],
  selection: Selection,
  options: ReconcileOptions,
): Promise<{ results: ReconcileResult[]; errors: unknown[] }> {
  const runs = await Promise.allSettled(
    targets.map((dependencies) => reconcile(selection, dependencies, options)),
  );
  const results = runs.flatMap((run) => (run.status === 'fulfilled' ? run.value : []));
  const rejections = runs.flatMap((run) => (run.status === 'rejected' ? [run.reason as unknown] : []));
  return { results, errors: [...rejections, ...results.flatMap((result) => result.errors)] };
}
