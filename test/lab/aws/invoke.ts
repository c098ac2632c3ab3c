import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { labAccount, labRegion } from './aws';

export interface Invocation {
  /** What the handler returned. */
  readonly answer: unknown;
  /** Its log: one object for each line. */
  readonly log: readonly Record<string, unknown>[];
}

/**
 * Invokes a function of dist/aws in a process of its own, as Lambda does.
 * @throws Error with the function's stderr when it throws or runs out of time
 */
export async function invoke(
  name: string,
  event: unknown,
  env: Readonly<Record<string, string>>,
  timeoutMs = 30_000,
): Promise<Invocation> {
  const bundle = `dist/aws/${name}.js`;
  const arn = `arn:aws:lambda:${labRegion}:${labAccount}:function:peermasq-dev-${name}`;
  const child = spawn(process.execPath, [join(__dirname, 'lambda.mjs'), bundle, String(timeoutMs), arn], {
    stdio: ['pipe', 'pipe', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
    timeout: timeoutMs,
    killSignal: 'SIGKILL',
  });
  child.stdin.end(JSON.stringify(event));
  const answerPipe = child.stdio[3] as Readable;
  const [log, faults, answer] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    text(answerPipe),
    once(child, 'close'),
  ]);
  if (child.exitCode !== 0)
    throw new Error(`${name} ended with ${child.exitCode ?? child.signalCode ?? ''}:\n${faults}${log}`);
  return { answer: JSON.parse(answer), log: log.split('\n').filter(Boolean).map(parseEntry) };
}

function parseEntry(line: string): Record<string, unknown> {
  return JSON.parse(line) as Record<string, unknown>;
}

/** The event that SQS hands to a function: each body is what EventBridge put into the queue. */
export function sqsEvent(bodies: readonly unknown[]) {
  return {
    Records: bodies.map((body, index) => ({
      messageId: `message-${index + 1}`,
      receiptHandle: `receipt-${index + 1}`,
      body: typeof body === 'string' ? body : JSON.stringify(body),
      attributes: { ApproximateReceiveCount: '1', SentTimestamp: String(Date.now()) },
      messageAttributes: {},
      md5OfBody: '',
      eventSource: 'aws:sqs',
      eventSourceARN: 'arn:aws:sqs:us-east-1:123456789012:peermasq-nodes',
      awsRegion: 'us-east-1',
    })),
  };
}
