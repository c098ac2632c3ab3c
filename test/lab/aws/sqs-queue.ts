import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { AwsApiError } from './api-error';

export interface QueueSettings {
  readonly name: string;
  /** The visibility timeout, in seconds like all durations in this type. */
  readonly visibilityTimeout: number;
  readonly delaySeconds: number;
  /** The number of receives after which a message moves to the dead-letter queue. If absent, messages never move. */
  readonly maxReceiveCount?: number;
}

export interface MessageAttribute {
  readonly DataType: string;
  readonly StringValue?: string | undefined;
  /** The value, encoded as Base64. */
  readonly BinaryValue?: string | undefined;
}

export interface LabMessage {
  readonly messageId: string;
  readonly body: string;
  readonly attributes: Readonly<Record<string, MessageAttribute>>;
  /** When the message was sent, in milliseconds since the epoch like all times in this type. */
  readonly sentAt: number;
  firstReceivedAt?: number;
  receivedAt?: number;
  receiveCount: number;
  /** The receipt handle of the latest receive. Earlier handles are invalid. */
  receiptHandle?: string;
  /** The time at which the message becomes visible. */
  visibleAt: number;
}

/** The account and region of a queue, and how many real milliseconds a simulated second takes. */
export interface QueueLocation {
  readonly account: string;
  readonly region: string;
  readonly secondMs: number;
}

/** The maximum visibility timeout in seconds (SQS developer guide, quotas). */
export const maxVisibilityTimeout = 43_200;

/** A wait that is longer than any test, but shorter than the maximum of a timer. */
const maxWaitMs = 3_600_000;

export const md5 = (text: string): string => createHash('md5').update(text).digest('hex');

/** A standard SQS queue. */
export class LabQueue {
  readonly name: string;
  readonly arn: string;
  readonly #settings: QueueSettings;
  readonly #location: QueueLocation;
  readonly #deadLetters: LabQueue | undefined;
  readonly #messages = new Map<string, LabMessage>();
  readonly #changes = new EventEmitter().setMaxListeners(0);

  constructor(settings: QueueSettings, location: QueueLocation, deadLetters?: LabQueue) {
    this.name = settings.name;
    this.arn = `arn:aws:sqs:${location.region}:${location.account}:${settings.name}`;
    this.#settings = settings;
    this.#location = location;
    this.#deadLetters = deadLetters;
  }

  /** All messages that have not been deleted: waiting, delayed and in flight. */
  get messages(): readonly LabMessage[] {
    return [...this.#messages.values()];
  }

  get size(): number {
    return this.#messages.size;
  }

  send(body: string, attributes: LabMessage['attributes'] = {}, delaySeconds?: number): LabMessage {
    const now = Date.now();
    const delayMs = (delaySeconds ?? this.#settings.delaySeconds) * this.#location.secondMs;
    const message = {
      messageId: randomUUID(),
      body,
      attributes,
      sentAt: now,
      receiveCount: 0,
      visibleAt: now + delayMs,
    };
    this.#put(message);
    return message;
  }

  /** Returns visible messages, at most `max`. Messages that were received too often move to the dead-letter queue. */
  receive(max: number): LabMessage[] {
    const received: LabMessage[] = [];
    const now = Date.now();
    const { maxReceiveCount = Number.POSITIVE_INFINITY, visibilityTimeout } = this.#settings;
    for (const message of this.#messages.values()) {
      if (received.length === max) break;
      if (message.visibleAt > now) continue;
      if (message.receiveCount >= maxReceiveCount) {
        this.#moveToDeadLetterQueue(message);
        continue;
      }
      message.receiveCount += 1;
      message.receivedAt = now;
      message.firstReceivedAt ??= now;
      message.receiptHandle = `AQEB${randomBytes(24).toString('base64')}`;
      message.visibleAt = now + visibilityTimeout * this.#location.secondMs;
      received.push({ ...message });
    }
    return received;
  }

  /** Deletes a message. As in SQS, does nothing if the handle is not the latest handle of the message. */
  delete(receiptHandle: string): void {
    const found = this.#findByReceiptHandle(receiptHandle);
    if (found) this.#remove(found);
  }

  /**
   * Changes a message's visibility timeout.
   * @throws AwsRefusal if the message is not in flight or the timeout is out of range
   */
  changeVisibility(receiptHandle: string, seconds: number): void {
    const invalidParameter = (parameter: string, value: unknown, reason: string) =>
      new AwsApiError(
        'InvalidParameterValue',
        `Value ${String(value)} for parameter ${parameter} is invalid. Reason: ${reason}`,
      );
    if (!/^AQEB[A-Za-z0-9+/=]{32}$/.test(receiptHandle)) {
      throw new AwsApiError(
        'ReceiptHandleIsInvalid',
        `The input receipt handle "${receiptHandle}" is not valid.`,
      );
    }
    if (seconds < 0 || seconds > maxVisibilityTimeout) {
      throw invalidParameter('VisibilityTimeout', seconds, `Must be between 0 and ${maxVisibilityTimeout}.`);
    }
    const now = Date.now();
    const found = this.#findByReceiptHandle(receiptHandle);
    if (!found || found.visibleAt <= now) {
      const reason = 'Message does not exist or is not available for visibility timeout change.';
      throw invalidParameter('ReceiptHandle', receiptHandle, reason);
    }
    const inFlightSeconds = Math.floor((now - (found.receivedAt ?? now)) / this.#location.secondMs);
    if (inFlightSeconds + seconds > maxVisibilityTimeout) {
      const reason = `Total VisibilityTimeout for the message is beyond the limit [${maxVisibilityTimeout} seconds].`;
      throw invalidParameter('VisibilityTimeout', seconds, reason);
    }
    found.visibleAt = now + seconds * this.#location.secondMs;
    this.#changes.emit('change');
  }

  /**
   * Resolves when a message can be received, when the time `until` (in milliseconds since the epoch) is reached, or
   * when `signal` aborts.
   */
  async waitForMessage(until: number, signal: AbortSignal): Promise<void> {
    for (;;) {
      const now = Date.now();
      let next = until;
      for (const { visibleAt } of this.#messages.values()) next = Math.min(next, visibleAt);
      if (next <= now || signal.aborted) return;
      await this.#waitForChange(signal, Math.ceil(Math.min(next - now, maxWaitMs)));
    }
  }

  /** Resolves when at most `count` messages remain, or when `signal` aborts. */
  async waitUntilAtMost(count: number, signal: AbortSignal): Promise<void> {
    while (this.size > count && !signal.aborted) await this.#waitForChange(signal);
  }

  /**
   * Waits for a change. Does not use AbortSignal.any, because Node 20 may garbage-collect the signal before it fires.
   */
  async #waitForChange(signal: AbortSignal, waitMs = maxWaitMs): Promise<void> {
    const timer = setTimeout(() => this.#changes.emit('change'), waitMs);
    // The wait rejects only if it is aborted, and the caller checks for that next.
    await once(this.#changes, 'change', { signal }).catch(() => undefined);
    clearTimeout(timer);
  }

  #findByReceiptHandle(receiptHandle: string): LabMessage | undefined {
    for (const message of this.#messages.values())
      if (message.receiptHandle === receiptHandle) return message;
    return undefined;
  }

  #put(message: LabMessage): void {
    this.#messages.set(message.messageId, message);
    this.#changes.emit('change');
  }

  #remove(message: LabMessage): void {
    this.#messages.delete(message.messageId);
    this.#changes.emit('change');
  }

  /** Moves a message to the dead-letter queue. The message keeps its ID, timestamps and receive count. */
  #moveToDeadLetterQueue(message: LabMessage): void {
    if (!this.#deadLetters) throw new Error(`${this.name} has no dead-letter queue`);
    this.#deadLetters.#put({ ...message, visibleAt: Date.now() });
    this.#remove(message);
  }
}
