// A function for the tests of the local stack. Each message contains instructions for handling it.
const { setTimeout: sleep } = require('node:timers/promises');
const console = require('node:console');
const process = require('node:process');
const { SQSClient, ChangeMessageVisibilityBatchCommand } = require('@aws-sdk/client-sqs');

const sqs = new SQSClient();

/** Sets the message's visibility timeout, in seconds, multiplied by its receive count. */
function growing(receiptHandle, count, seconds) {
  const entry = { Id: 'it', ReceiptHandle: receiptHandle, VisibilityTimeout: seconds * count };
  const batch = { QueueUrl: process.env.PEERMASQ_QUEUE, Entries: [entry] };
  return sqs.send(new ChangeMessageVisibilityBatchCommand(batch));
}

/** Handles a message. Returns whether handling succeeded. */
async function act({ body, receiptHandle, attributes }) {
  const { does, times = 0, seconds = 1 } = JSON.parse(body).detail;
  const count = Number(attributes.ApproximateReceiveCount);
  console.log(JSON.stringify({ message: 'Seen', does, count, at: Date.now(), pid: process.pid }));
  if (count > times) return true;
  if (does === 'throw') throw new Error('thrown on purpose');
  if (does === 'crash') process.exit(3);
  if (does === 'hang') await sleep(60_000);
  if (does === 'grow') await growing(receiptHandle, count, seconds);
  return false;
}

exports.handler = async ({ Records }, context) => {
  console.log(
    JSON.stringify({ message: 'Batch', size: Records.length, left: context.getRemainingTimeInMillis() }),
  );
  const batchItemFailures = [];
  for (const record of Records) {
    if (!(await act(record))) batchItemFailures.push({ itemIdentifier: record.messageId });
  }
  return { batchItemFailures };
};
