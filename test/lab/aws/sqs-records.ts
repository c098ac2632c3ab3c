import { md5, type LabMessage, type MessageAttribute } from './sqs-queue';

/**
 * Returns a message in the form in which Lambda passes it to a function.
 * https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
 */
export function toSqsRecord(message: LabMessage, eventSourceARN: string) {
  const { messageId, receiptHandle = '', body, attributes, sentAt, firstReceivedAt = sentAt } = message;
  return {
    messageId,
    receiptHandle,
    body,
    attributes: {
      ApproximateReceiveCount: String(message.receiveCount),
      SentTimestamp: String(sentAt),
      SenderId: 'AIDAIENQZJOLO23YVJ4VO',
      ApproximateFirstReceiveTimestamp: String(firstReceivedAt),
    },
    messageAttributes: Object.fromEntries(
      Object.entries(attributes).map(([name, attribute]) => [name, toSqsAttribute(attribute)]),
    ),
    md5OfBody: md5(body),
    eventSource: 'aws:sqs',
    eventSourceARN,
    awsRegion: eventSourceARN.split(':')[3] ?? '',
  };
}

const toSqsAttribute = ({ DataType, StringValue, BinaryValue }: MessageAttribute) => ({
  ...(StringValue !== undefined && { stringValue: StringValue }),
  ...(BinaryValue !== undefined && { binaryValue: BinaryValue }),
  stringListValues: [],
  binaryListValues: [],
  dataType: DataType,
});

/** Returns the SQS event that a function receives. Each body is an EventBridge event. */
export function sqsEvent(bodies: readonly unknown[], now = Date.now()) {
  return {
    Records: bodies.map((body, index) => {
      const message: LabMessage = {
        messageId: `message-${index + 1}`,
        receiptHandle: `receipt-${index + 1}`,
        body: typeof body === 'string' ? body : JSON.stringify(body),
        attributes: {},
        sentAt: now,
        receiveCount: 1,
        visibleAt: now,
      };
      return toSqsRecord(message, 'arn:aws:sqs:us-east-1:123456789012:peermasq-dev-nodes');
    }),
  };
}
