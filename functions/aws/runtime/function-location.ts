import type { Context } from 'aws-lambda';
import { PermanentError } from '../../../shared/core/model/errors';

/** Where the function runs. */
export interface FunctionLocation {
  readonly partition: string;
  readonly account: string;
  readonly region: string;
}

/** https://docs.aws.amazon.com/lambda/latest/dg/lambda-api-permissions-ref.html: partition, region, account. */
const functionArn =
  /^arn:(?<partition>aws[a-z-]*):lambda:(?<region>[a-z0-9-]+):(?<account>[0-9]{12}):function:/;

/** @throws PermanentError when the ARN is none of a Lambda function */
export function functionLocation({
  invokedFunctionArn,
}: Pick<Context, 'invokedFunctionArn'>): FunctionLocation {
  const { partition, account, region } = functionArn.exec(invokedFunctionArn)?.groups ?? {};
  if (partition !== undefined && account !== undefined && region !== undefined)
    return { partition, account, region };
  throw new PermanentError(
    'bad-function-arn',
    `Read ${JSON.stringify(invokedFunctionArn)} as the ARN of this function; accepted is arn:aws:lambda:REGION:ACCOUNT:function:NAME`,
    'Let Lambda invoke the function; whoever else does gives it the context that Lambda would.',
  );
}
