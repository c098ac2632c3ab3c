import type { LocalAws } from './cloud';
import { deadLetterQueue, type Deployment, type EnvironmentValue } from './deployment';
import { startFunction, type LabFunction } from './function';
import type { Invocation, LogEntry } from './execution-environment';
import type { LabMessage, LabQueue } from './sqs-queue';
import { runEventSource } from './event-source';
import { matchesPattern } from './event-pattern';

export interface StackOptions {
  /** The path of the functions' peermasq.yaml. Defaults to the file next to their bundle. */
  readonly config?: string;
  /** Additional environment variables for all functions. The deployment's variables take precedence. */
  readonly env?: Readonly<Record<string, string>>;
  /**
   * The milliseconds that a simulated second takes in queues, batch windows and SSM's deadlines. Function timeouts are
   * not scaled.
   */
  readonly secondMs?: number;
}

/** A line of the log, with the function that wrote it. */
export type FunctionLog = LogEntry & { readonly function: string };

export interface LabStack {
  /** Sends an event to EventBridge. Events of the local SSM are sent automatically. */
  put(event: object): void;
  /** @param name the short name, such as `nodes` */
  queue(name: string): LabQueue;
  readonly deadLetters: readonly LabMessage[];
  /** All lines that the functions have logged so far. */
  readonly log: readonly FunctionLog[];
  /** The errors that functions threw, including crashes and timeouts. */
  readonly failures: readonly unknown[];
  /** A callback that runs after each invocation, before the handled messages are deleted. */
  onInvoked: (name: string, invocation: Invocation) => void;
  /**
   * Invokes a function directly, as the schedule or an operator would.
   * @throws Error with the function's log if the invocation fails
   */
  invoke(name: string, event: unknown): Promise<Invocation>;
  /** Resolves when no command is running, and all queues except the dead-letter queue are empty. */
  idle(): Promise<void>;
  /** Stops the stack and all function processes. */
  close(): Promise<void>;
}

export function startStack(aws: LocalAws, deployment: Deployment, options: StackOptions = {}): LabStack {
  aws.state.secondMs = options.secondMs ?? aws.state.secondMs;
  const stop = new AbortController();
  const log: FunctionLog[] = [];
  const failures: unknown[] = [];
  const { queues, deadLetters } = makeQueues(aws, deployment);
  const functions = makeFunctions(aws, deployment, options, {
    onLog: (entry) => log.push(entry),
    onInvoked: (name, invocation) => {
      stack.onInvoked(name, invocation);
    },
  });
  const sources = deployment.sources.map((source) =>
    runEventSource(
      getOrThrow(queues, source.queue),
      getOrThrow(functions, source.function),
      { ...source, windowMs: source.windowSeconds * aws.state.secondMs },
      (error) => failures.push(error),
      stop.signal,
    ).catch((error: unknown) => {
      stop.abort(error);
    }),
  );

  const stack: LabStack = {
    put(event) {
      for (const { queue, pattern } of deployment.rules) {
        if (matchesPattern(pattern, event)) getOrThrow(queues, queue).send(JSON.stringify(event));
      }
    },
    queue: (name) => getOrThrow(queues, name),
    get deadLetters() {
      return deadLetters.messages;
    },
    log,
    failures,
    onInvoked: () => undefined,
    invoke: (name, event) => getOrThrow(functions, name).invoke(event),
    async idle() {
      do {
        for (const queue of queues.values()) await queue.waitUntilAtMost(0, stop.signal);
        await aws.waitForCommands();
        stop.signal.throwIfAborted();
      } while ([...queues.values()].some(({ size }) => size > 0));
    },
    async close() {
      stop.abort(new Error('The stack is closed'));
      aws.onEvent = () => undefined;
      await Promise.all([...functions.values()].map((one) => one.close()));
      await Promise.all(sources);
    },
  };
  aws.onEvent = (event) => {
    stack.put(event);
  };
  return stack;
}

function getOrThrow<T>(all: ReadonlyMap<string, T>, name: string): T {
  const one = all.get(name);
  if (one === undefined) throw new Error(`The stack has no ${name}; it has ${[...all.keys()].join(', ')}`);
  return one;
}

const fullName = (stage: string, name: string) => `peermasq-${stage}-${name}`;

function makeQueues(aws: LocalAws, { stage, queues }: Deployment) {
  const name = fullName(stage, deadLetterQueue);
  const deadLetters = aws.addQueue({ name, visibilityTimeout: 30, delaySeconds: 0 });
  const made = queues.map(
    (settings) =>
      [
        settings.name,
        aws.addQueue({ ...settings, name: fullName(stage, settings.name) }, deadLetters),
      ] as const,
  );
  return { queues: new Map<string, LabQueue>(made), deadLetters };
}

interface StackListeners {
  readonly onLog: (entry: FunctionLog) => void;
  readonly onInvoked: LabStack['onInvoked'];
}

function makeFunctions(
  aws: LocalAws,
  { stage, functions }: Deployment,
  { config, env = {} }: StackOptions,
  { onLog, onInvoked }: StackListeners,
): Map<string, LabFunction> {
  const resolve = (value: EnvironmentValue) =>
    typeof value === 'string' ? value : aws.queueUrl(fullName(stage, value.queue));
  const made = functions.map(({ name, bundle, timeoutSeconds, role, environment }) => {
    const own = Object.entries(environment).map(([key, value]) => [key, resolve(value)] as const);
    const one = startFunction({
      name,
      bundle,
      timeoutMs: timeoutSeconds * 1_000,
      env: {
        ...aws.env,
        ...(role && aws.envForRole(role)),
        ...Object.fromEntries(own),
        ...(config !== undefined && { PEERMASQ_CONFIG: config }),
        ...env,
      },
      onLog: (entry) => {
        onLog({ ...entry, function: name });
      },
      onInvoked: (invocation) => {
        onInvoked(name, invocation);
      },
    });
    return [name, one] as const;
  });
  return new Map(made);
}
