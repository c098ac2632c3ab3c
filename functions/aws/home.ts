import type { Context } from 'aws-lambda';
import type { Home } from '../../shared/aws/events';
import { PermanentError } from '../../shared/core/errors';

/** https://docs.aws.amazon.com/lambda/latest/dg/lambda-api-permissions-ref.html: partition, region, account. */
const functionArn = /^arn:aws[a-z-]*:lambda:(?<region>[a-z0-9-]+):(?<account>[0-9]{12}):function:/;

/**
 * Where the function runs: the account and the region that its clients reach.
 * @throws PermanentError when the ARN is none of a Lambda function
 */
export function homeOf({ invokedFunctionArn }: Pick<Context, 'invokedFunctionArn'>): Home {
  const { account, region } = functionArn.exec(invokedFunctionArn)?.groups ?? {};
  if (account !== undefined && region !== undefined) return { account, region };
  throw new PermanentError(
    'bad-function-arn',
    `Read ${JSON.stringify(invokedFunctionArn)} as the ARN of this function; accepted is arn:aws:lambda:REGION:ACCOUNT:function:NAME`,
    'Let Lambda invoke the function; whoever else does gives it the context that Lambda would.',
  );
}
