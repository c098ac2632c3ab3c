import * as z from 'zod';
import { clusterConfig, type Config } from '../../shared/core/model/config';
import { messageOf, PermanentError } from '../../shared/core/model/errors';

const requestSchema = z.strictObject({
  /** The clusters to reconcile. Defaults to every configured cluster. */
  clusters: z.array(z.string().min(1)).min(1).optional(),
  /** Return the plans without pushing anything. */
  dryRun: z.boolean().default(false),
  /** Push even if discovery found far fewer routes than the rules in force are based on. */
  allowRouteLoss: z.boolean().default(false),
  /** Skip nodes that have just been launched, because launch events handle these nodes. The sweep sets this option. */
  skipNewNodes: z.boolean().default(false),
});

export type BackfillRequest = z.output<typeof requestSchema>;

/** Describes the valid request in error messages. */
export const requestUsage =
  '{"clusters": ["NAME", …], "dryRun": true|false, "allowRouteLoss": true|false, "skipNewNodes": true|false}; all are optional.';

/**
 * Parses a backfill request.
 * @throws PermanentError that lists everything that is invalid
 */
export function parseBackfillRequest(body: unknown): BackfillRequest {
  try {
    return requestSchema.parse(body ?? {});
  } catch (cause) {
    throw new PermanentError(
      'bad-request',
      `Invalid backfill request: ${cause instanceof z.ZodError ? z.prettifyError(cause) : messageOf(cause)}`,
      { advice: `Send ${requestUsage}`, cause },
    );
  }
}

/**
 * Returns the requested clusters, or all clusters if the request names none.
 * @throws PermanentError for a cluster that is not configured
 */
export function selectClusters({ clusters }: BackfillRequest, config: Config): readonly string[] {
  const configured = config.clusters.map(({ name }) => name);
  const unknown = clusters?.find((name) => !clusterConfig(config, name));
  if (unknown === undefined) return clusters ?? configured;
  throw new PermanentError('bad-request', `peermasq.yaml has no cluster ${JSON.stringify(unknown)}`, {
    advice: `Use one of these: ${configured.join(', ')}.`,
  });
}
