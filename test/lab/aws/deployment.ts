import { readFileSync } from 'node:fs';
import { parseDocument, type ScalarTag } from 'yaml';
import * as z from 'zod';
import { subscriptions, type Pattern } from '../../../infra/aws/patterns';
import {
  deadLetterQueueId,
  queueId,
  queueNames,
  queueResources,
  queueSettings,
} from '../../../infra/aws/queues';
import { roleResources } from '../../../infra/aws/roles';
import { parseSettings } from '../../../infra/aws/settings';
import { labAccount, labRegion } from './cloud';
import { readRole, type LabRole } from './iam-policies';
import type { QueueSettings } from './sqs-queue';

/** The value of an environment variable: either text, or the short name of a queue whose URL is the value. */
export type EnvironmentValue = string | { readonly queue: string };

export interface DeployedFunction {
  readonly name: string;
  /** The file that exports `handler`. */
  readonly bundle: string;
  readonly timeoutSeconds: number;
  /** The role of the function. A function without a role may make all calls. */
  readonly role?: LabRole;
  readonly environment: Readonly<Record<string, EnvironmentValue>>;
}

/** An event source mapping from a queue, by its short name, to a function. */
export interface DeployedEventSource {
  readonly queue: string;
  readonly function: string;
  readonly batchSize: number;
  readonly windowSeconds: number;
  readonly maximumConcurrency: number;
}

/** An event rule, which sends events that match the pattern to a queue. */
export interface DeployedRule {
  readonly queue: string;
  readonly pattern: Pattern;
}

/**
 * The resources that `serverless deploy` would create from serverless.yml and infra/aws, limited to what the lab
 * supports.
 */
export interface Deployment {
  readonly stage: string;
  /** The queues by short name, such as `nodes`. */
  readonly queues: readonly QueueSettings[];
  readonly functions: readonly DeployedFunction[];
  readonly sources: readonly DeployedEventSource[];
  readonly rules: readonly DeployedRule[];
}

export interface DeploymentOptions {
  readonly stage?: string;
  /** The parameters, as for `serverless deploy --param`. */
  readonly params?: Readonly<Record<string, string | number>>;
  /** The clusters to whose nodes the roles may send commands. If empty, this is allowed for all clusters. */
  readonly clusters?: readonly string[];
  /** Overrides the batch windows and delays of all queues, to keep tests short. */
  readonly windowSeconds?: number;
  readonly delaySeconds?: number;
}

export const deadLetterQueue = 'dead-letters';

const reference = z.object({ ref: z.string() });
const environment = z.record(z.string(), z.union([z.string(), reference])).default({});

const serviceSchema = z.object({
  params: z.object({ default: z.record(z.string(), z.union([z.string(), z.number()])) }),
  provider: z.object({ environment }),
  functions: z.record(
    z.string(),
    z.object({
      handler: z.string().regex(/^dist\/aws\/[a-z-]+\.handler$/),
      role: z.string(),
      timeout: z.number(),
      environment,
      events: z
        .array(
          z.object({
            sqs: z
              .object({
                arn: reference,
                batchSize: z.number(),
                maximumBatchingWindow: z.number(),
                maximumConcurrency: z.number(),
                functionResponseType: z.literal('ReportBatchItemFailures'),
              })
              .optional(),
          }),
        )
        .default([]),
    }),
  ),
});

type Service = z.output<typeof serviceSchema>;

/** Resolves `!Ref Id` and `!GetAtt Id.Arn` as CloudFormation does. */
const tags = ['!Ref', '!GetAtt'].map((tag): ScalarTag => ({
  tag,
  resolve: (text) => ({ ref: text.replace(/\.Arn$/, '') }),
}));

function readService(): Service {
  const document = parseDocument(readFileSync('serverless.yml', 'utf8'), { customTags: tags });
  const [error] = document.errors;
  if (error) throw error;
  return serviceSchema.parse(document.toJS());
}

/**
 * Reads the deployment from serverless.yml and infra/aws in the current directory, which must be the repository root.
 * @throws Error if serverless.yml uses something that the lab does not support
 */
export function readDeployment(options: DeploymentOptions = {}): Deployment {
  const { stage = 'dev', params: given = {}, clusters = ['*'], windowSeconds, delaySeconds } = options;
  const { params, provider, functions } = readService();
  const values = { ...params.default, ...given };
  const resolve = (value: string | z.output<typeof reference>): EnvironmentValue =>
    typeof value === 'string' ? resolveVariables(value, stage, values) : { queue: shortQueueName(value.ref) };
  const settings = parseSettings({ ...values, stage, functions });
  const template = { ...queueResources(settings), ...roleResources(settings, clusters) };
  return {
    stage,
    queues: queueSettings(settings).map((queue) => ({
      ...queue,
      delaySeconds: delaySeconds ?? queue.delaySeconds,
    })),
    functions: Object.entries(functions).map(([name, { handler, role, timeout, environment: own }]) => ({
      name,
      bundle: handler.replace(/\.handler$/, '.js'),
      timeoutSeconds: timeout,
      role: readRole(template, role, { account: labAccount, region: labRegion }),
      environment: Object.fromEntries(
        Object.entries({ ...provider.environment, ...own }).map(([key, value]) => [key, resolve(value)]),
      ),
    })),
    sources: Object.entries(functions).flatMap(([name, { events }]) =>
      events.flatMap(({ sqs }) =>
        sqs
          ? {
              queue: shortQueueName(sqs.arn.ref),
              function: name,
              batchSize: sqs.batchSize,
              windowSeconds: windowSeconds ?? sqs.maximumBatchingWindow,
              maximumConcurrency: sqs.maximumConcurrency,
            }
          : [],
      ),
    ),
    rules: subscriptions(stage),
  };
}

/** Resolves `${sls:stage}` and `${param:NAME}` as serverless does. */
function resolveVariables(
  text: string,
  stage: string,
  params: Readonly<Record<string, string | number>>,
): string {
  return text.replaceAll(/\$\{([^}]+)\}/g, (whole, variable: string) => {
    const value = variable === 'sls:stage' ? stage : params[variable.replace(/^param:/, '')];
    if (value === undefined) throw new Error(`The lab does not support ${whole} in serverless.yml`);
    return String(value);
  });
}

function shortQueueName(id: string): string {
  if (id === deadLetterQueueId) return deadLetterQueue;
  const name = queueNames.find((one) => queueId(one) === id);
  if (!name) throw new Error(`infra/aws has no queue ${id}`);
  return name;
}
