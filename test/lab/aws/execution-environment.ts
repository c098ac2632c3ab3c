import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { labAccount, labRegion } from './cloud';

export type LogEntry = Readonly<Record<string, unknown>>;

export interface Invocation {
  /** The value that the handler returned. */
  readonly response: unknown;
  /** The log of the invocation, one object for each line. */
  readonly log: readonly LogEntry[];
}

export interface EnvironmentSettings {
  /** The name of the function. */
  readonly name: string;
  /** The file that exports `handler`. */
  readonly bundle: string;
  readonly timeoutMs: number;
  readonly env: Readonly<Record<string, string>>;
  /** A callback for each line that is logged during an invocation. */
  readonly onLog?: (entry: LogEntry) => void;
}

/** A process that runs a function. It handles one invocation at a time. */
export interface ExecutionEnvironment {
  /**
   * Whether the process can handle another invocation. It can after the handler throws an error, but not after a crash
   * or a timeout.
   */
  readonly isAlive: boolean;
  /**
   * Invokes the handler.
   * @throws Error with the log if the handler throws, times out or crashes
   */
  invoke(event: unknown): Promise<Invocation>;
  close(): Promise<void>;
}

/** The format of the last line in an invocation's log, which lambda-runtime.mjs writes. */
type RuntimeDone = { readonly response: unknown } | { readonly error: string };

/** The current invocation, or the last one if none is running, because its log may arrive after it has finished. */
interface CurrentInvocation {
  readonly log: LogEntry[];
  readonly end: (done: RuntimeDone) => void;
  /** The output on stderr during the invocation. */
  stderr: string;
  hasTimedOut: boolean;
  hasEnded: boolean;
}

/** How long a process may take to flush its log. */
const shutdownGraceMs = 2_000;

export function startExecutionEnvironment(settings: EnvironmentSettings): ExecutionEnvironment {
  const { name, timeoutMs } = settings;
  const invokedFunctionArn = `arn:aws:lambda:${labRegion}:${labAccount}:function:peermasq-dev-${name}`;
  let current: CurrentInvocation | undefined;
  const child = start(settings, () => current);
  const closed = once(child, 'close');
  return {
    get isAlive() {
      return child.exitCode === null && child.signalCode === null && current?.hasTimedOut !== true;
    },
    async invoke(event) {
      let end: CurrentInvocation['end'] = () => undefined;
      const done = new Promise<RuntimeDone>((resolve) => (end = resolve));
      const own: CurrentInvocation = { log: [], end, stderr: '', hasTimedOut: false, hasEnded: false };
      current = own;
      const timer = setTimeout(() => {
        own.hasTimedOut = true;
        child.kill('SIGKILL');
      }, timeoutMs);
      child.stdin.write(`${JSON.stringify({ event, invokedFunctionArn, timeoutMs })}\n`);
      const result = await done;
      clearTimeout(timer);
      own.hasEnded = true;
      if ('response' in result) return { response: result.response, log: own.log };
      const reason = own.hasTimedOut ? `timed out after ${timeoutMs} ms` : result.error;
      const logLines = own.log.map((entry) => JSON.stringify(entry)).join('\n');
      throw new Error(`${name}: ${reason}\n${own.stderr}${logLines}`);
    },
    async close() {
      child.stdin.end();
      const isBusy = current?.hasEnded === false;
      const timer = setTimeout(() => child.kill('SIGKILL'), isBusy ? 0 : shutdownGraceMs);
      await closed;
      clearTimeout(timer);
    },
  };
}

/** Starts the process, and passes its output and its exit to the current invocation. */
function start({ bundle, env, onLog }: EnvironmentSettings, current: () => CurrentInvocation | undefined) {
  const child = spawn(process.execPath, [join(__dirname, 'lambda-runtime.mjs'), bundle], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    const now = current();
    if (now) now.stderr += text;
  });
  // Write errors are ignored, because the exit event reports that the process has ended.
  child.stdin.on('error', () => undefined);
  createInterface({ input: child.stdout }).on('line', (line) => {
    const entry = parseEntry(line);
    if (entry['type'] === 'platform.runtimeDone') {
      current()?.end(entry as RuntimeDone);
      return;
    }
    current()?.log.push(entry);
    onLog?.(entry);
  });
  child.on('close', (code, signal) => {
    current()?.end({ error: `exited with ${code ?? signal ?? ''}` });
  });
  return child;
}

/** Parses a line of the log. A line that is not a JSON object, such as a stray `console.log`, becomes a message. */
function parseEntry(line: string): LogEntry {
  try {
    const entry: unknown = JSON.parse(line);
    if (typeof entry === 'object' && entry !== null) return entry as LogEntry;
  } catch {
    // The line is not JSON.
  }
  return { message: line };
}
