import { describe, expect, test } from '@jest/globals';
import { functionLocation } from '../../../../functions/aws/runtime/function-location';
import { PermanentError } from '../../../../shared/core/model/errors';

describe('where a function runs, by its ARN', () => {
  test.each([
    ['arn:aws:lambda:us-east-1:123456789012:function:peermasq-dev-node-joined', 'aws', 'us-east-1'],
    ['arn:aws:lambda:eu-west-1:123456789012:function:peermasq-dev-node-joined:live', 'aws', 'eu-west-1'],
    ['arn:aws-us-gov:lambda:us-gov-west-1:123456789012:function:x', 'aws-us-gov', 'us-gov-west-1'],
    ['arn:aws-cn:lambda:cn-north-1:123456789012:function:x:$LATEST', 'aws-cn', 'cn-north-1'],
  ])('%s', (invokedFunctionArn, partition, region) => {
    expect(functionLocation({ invokedFunctionArn })).toEqual({ partition, account: '123456789012', region });
  });

  test.each([
    '',
    'peermasq-dev-node-joined',
    'arn:aws:lambda:us-east-1:12345:function:x',
    'arn:aws:lambda::123456789012:function:x',
    'arn:aws:s3:us-east-1:123456789012:function:x',
  ])('%j is refused', (invokedFunctionArn) => {
    const read = () => functionLocation({ invokedFunctionArn });
    expect(read).toThrow(PermanentError);
    expect(read).toThrow(JSON.stringify(invokedFunctionArn));
  });
});
