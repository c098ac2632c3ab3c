import type { Context } from 'aws-lambda';
import type { Deadline } from '../../../shared/core/cloud';
import { PermanentError } from '../../../shared/core/model/errors';

/** The account and region in which the function runs. */
export interface FunctionLocation {
  readonly partition: string;
  readonly account: string;
  readonly region: string;
}

/** https://docs.aws.amazon.com/lambda/latest/dg/lambda-api-permissions-ref.html */
const functionArn =
  /^arn:(?<partition>aws[a-z-]*):lambda:(?<region>[a-z0-9-]+):(?<account>[0-9]{12}):function:/;

/** @throws PermanentError when the ARN is not the ARN of a Lambda function */
export function functionLocation({
  invokedFunctionArn,
}: Pick<Context, 'invokedFunctionArn'>): FunctionLocation {
  const { partition, account, region } = functionArn.exec(invokedFunctionArn)?.groups ?? {};
  if (partition !== undefined && account !== undefined && region !== undefined)
    return { partition, account, region };
  throw new PermanentError(
    'bad-function-arn',
    `invalid function ARN ${JSON.stringify(invokedFunctionArn)}: expected arn:aws:lambda:REGION:ACCOUNT:function:NAME`,
    { advice: 'Invoke the function through Lambda, or pass the context that Lambda would pass.' },
  );
}

/** Time reserved at the end of an invocation for logging and for the response to the queue. */
const reserveMs = 5_000;

export function deadlineOf(context: Pick<Context, 'getRemainingTimeInMillis'>): Deadline {
  return Date.now() + context.getRemainingTimeInMillis() - reserveMs;
}
