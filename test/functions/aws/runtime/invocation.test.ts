import { describe, expect, test } from '@jest/globals';
import { functionLocation } from '../../../../functions/aws/runtime/invocation';
import { PermanentError } from '../../../../shared/core/model/errors';

describe('the region and account of a function', () => {
  test.each([
    ['arn:aws:lambda:us-east-1:123456789012:function:peermasq-dev-node-joined', 'aws', 'us-east-1'],
    ['arn:aws:lambda:eu-west-1:123456789012:function:peermasq-dev-node-joined:live', 'aws', 'eu-west-1'],
    ['arn:aws-us-gov:lambda:us-gov-west-1:123456789012:function:x', 'aws-us-gov', 'us-gov-west-1'],
    ['arn:aws-cn:lambda:cn-north-1:123456789012:function:x:$LATEST', 'aws-cn', 'cn-north-1'],
  ])('is read from the ARN %s', (invokedFunctionArn, partition, region) => {
    expect(functionLocation({ invokedFunctionArn })).toEqual({ partition, account: '123456789012', region });
  });

  test.each([
    '',
    'peermasq-dev-node-joined',
    'arn:aws:lambda:us-east-1:12345:function:x',
    'arn:aws:lambda::123456789012:function:x',
    'arn:aws:s3:us-east-1:123456789012:function:x',
  ])('cannot be read from %j', (invokedFunctionArn) => {
    const read = () => functionLocation({ invokedFunctionArn });
    expect(read).toThrow(PermanentError);
    expect(read).toThrow(JSON.stringify(invokedFunctionArn));
  });
});
