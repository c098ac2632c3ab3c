import * as z from 'zod';
import { md5, type LabQueue, type MessageAttribute } from './sqs-queue';
import { AwsApiError } from './api-error';
import type { AwsState } from './state';

/** SQS's awsJson1_0 protocol. https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/ */
const attributeInput = z.strictObject({
  DataType: z.string(),
  StringValue: z.string().optional(),
  BinaryValue: z.base64().optional(),
});

const sendInput = z.strictObject({
  QueueUrl: z.string(),
  MessageBody: z.string().min(1),
  DelaySeconds: z.number().int().min(0).max(900).optional(),
  MessageAttributes: z.record(z.string(), attributeInput).default({}),
});

const changeInput = z.strictObject({
  QueueUrl: z.string(),
  Entries: z.array(
    z.strictObject({ Id: z.string(), ReceiptHandle: z.string(), VisibilityTimeout: z.number().int() }),
  ),
});

const invalid = (message: string) => new AwsApiError('InvalidParameterValue', message);

/** The maximum size of a message in bytes: the body and all attributes together. */
const sizeLimit = 1_048_576;

function sendMessage(state: AwsState, input: unknown) {
  const { QueueUrl, MessageBody, DelaySeconds, MessageAttributes } = sendInput.parse(input);
  const queue = queueAt(state, QueueUrl);
  const attributes = Object.entries(MessageAttributes);
  if (attributes.length > 10) {
    throw invalid(`Number of message attributes [${attributes.length}] exceeds the allowed maximum [10].`);
  }
  for (const [name, attribute] of attributes) validateAttribute(name, attribute);
  const parts = attributes.flatMap(([name, { DataType, StringValue, BinaryValue }]) => [
    Buffer.from(name + DataType + (StringValue ?? '')),
    Buffer.from(BinaryValue ?? '', 'base64'),
  ]);
  const size = [Buffer.from(MessageBody), ...parts].reduce((sum, part) => sum + part.length, 0);
  if (size > sizeLimit) {
    throw invalid(
      `One or more parameters are invalid. Reason: Message must be shorter than ${sizeLimit} bytes.`,
    );
  }
  const body = MessageBody.replaceAll(unprintable, '\uFFFD');
  const { messageId } = queue.send(body, MessageAttributes, DelaySeconds);
  // Returns the digest of the text before characters are replaced. The client would treat any other digest as
  // corruption.
  return { MessageId: messageId, MD5OfMessageBody: md5(MessageBody) };
}

/** The characters that SQS replaces instead of rejecting the message (API reference, SendMessage). */
const unprintable = /[^\t\n\r\u{20}-\u{D7FF}\u{E000}-\u{FFFD}\u{10000}-\u{10FFFF}]/gu;

/** https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html */
function validateAttribute(name: string, { DataType, StringValue, BinaryValue }: MessageAttribute): void {
  const isName = /^(?!(aws|amazon)\.)(?!\.)(?!.*\.\.)[A-Za-z0-9_.-]{1,256}(?<!\.)$/i.test(name);
  if (!isName) throw invalid(`The message attribute name '${name}' is invalid.`);
  const [, kind] = /^(String|Number|Binary)(\..+)?$/.exec(DataType) ?? [];
  if (kind === undefined || DataType.length > 256) {
    throw invalid(`The type of message (user) attribute '${name}' is invalid.`);
  }
  const [value, other] = kind === 'Binary' ? [BinaryValue, StringValue] : [StringValue, BinaryValue];
  if (!value || other !== undefined) {
    throw invalid(
      `The message (user) attribute '${name}' must contain a non-empty value of type '${DataType}'.`,
    );
  }
  if (kind === 'Number' && !Number.isFinite(Number(value))) {
    throw invalid(`Can't cast the value of message (user) attribute '${name}' to a number.`);
  }
}

function changeMessageVisibilityBatch(state: AwsState, input: unknown) {
  const { QueueUrl, Entries } = changeInput.parse(input);
  const queue = queueAt(state, QueueUrl);
  validateBatch(Entries.map(({ Id }) => Id));
  const results = Entries.map(({ Id, ReceiptHandle, VisibilityTimeout }) => ({
    Id,
    apiError: catchApiError(() => {
      queue.changeVisibility(ReceiptHandle, VisibilityTimeout);
    }),
  }));
  return {
    Successful: results.flatMap(({ Id, apiError }) => (apiError ? [] : [{ Id }])),
    Failed: results.flatMap(({ Id, apiError }) =>
      apiError ? [{ Id, SenderFault: true, Code: apiError.code, Message: apiError.message }] : [],
    ),
  };
}

function validateBatch(ids: readonly string[]): void {
  if (ids.length === 0) throw new AwsApiError('EmptyBatchRequest', 'There should be at least one entry.');
  if (ids.length > 10) {
    const message = `Maximum number of entries per request are 10. You have sent ${ids.length}.`;
    throw new AwsApiError('TooManyEntriesInBatchRequest', message);
  }
  if (!ids.every((id) => /^[A-Za-z0-9_-]{1,80}$/.test(id))) {
    const message =
      'A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters long.';
    throw new AwsApiError('InvalidBatchEntryId', message);
  }
  const repeated = ids.find((id, index) => ids.indexOf(id) !== index);
  if (repeated !== undefined) throw new AwsApiError('BatchEntryIdsNotDistinct', `Id ${repeated} repeated.`);
}

function catchApiError(act: () => void): AwsApiError | undefined {
  try {
    act();
    return undefined;
  } catch (error) {
    if (error instanceof AwsApiError) return error;
    throw error;
  }
}

function queueAt({ account, queues }: AwsState, url: string): LabQueue {
  if (!URL.canParse(url)) {
    throw new AwsApiError('InvalidAddress', `The address ${url} is not valid for this endpoint.`);
  }
  const [, owner, name = ''] = new URL(url).pathname.split('/');
  const queue = owner === account ? queues.get(name) : undefined;
  if (!queue) throw new AwsApiError('QueueDoesNotExist', 'The specified queue does not exist.');
  return queue;
}

const actions: Readonly<Record<string, (state: AwsState, input: unknown) => object>> = {
  SendMessage: sendMessage,
  ChangeMessageVisibilityBatch: changeMessageVisibilityBatch,
};

/**
 * Handles a call.
 * @returns the response as JSON
 * @throws AwsRefusal
 */
export function handleSqs(state: AwsState, action: string, input: unknown): string {
  const act = Object.hasOwn(actions, action) ? actions[action] : undefined;
  if (!act) throw new AwsApiError('UnknownOperationException', '');
  try {
    return JSON.stringify(act(state, input));
  } catch (error) {
    throw error instanceof z.ZodError ? toApiError(error) : error;
  }
}

function toApiError({ issues: [issue] }: z.ZodError): AwsApiError {
  const path = issue?.path.join('.') ?? '';
  return issue?.code === 'invalid_type' && issue.input === undefined
    ? new AwsApiError('MissingParameter', `The request must contain the parameter ${path}.`)
    : invalid(`Value for parameter ${path} is invalid. Reason: ${issue?.message ?? ''}`);
}
