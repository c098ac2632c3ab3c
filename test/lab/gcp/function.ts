import { spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { createInterface } from 'node:readline';

/** A function from dist/gcp that runs on the real functions-framework. */
export interface LabFunction {
  readonly url: string;
  /** The function's peak resident memory so far, in megabytes. */
  readonly peakMb: () => number;
  /** The function's log so far: one parsed object per line. */
  readonly log: Record<string, unknown>[];
  /** Resolves with the first matching log entry, as soon as it is logged. */
  readonly logged: (isIt: (entry: Record<string, unknown>) => boolean) => Promise<Record<string, unknown>>;
  close(): Promise<void>;
}

const startsWithinMs = 20_000;

/**
 * Starts a function as Cloud Run does: in a separate process, with a port to listen on and its settings in environment
 * variables.
 */
export async function startFunction(
  target: string,
  signatureType: 'cloudevent' | 'http',
  env: Readonly<Record<string, string>>,
): Promise<LabFunction> {
  const port = await freePort();
  const flags = [`--target=${target}`, `--signature-type=${signatureType}`, `--port=${port}`];
  const child = spawn(
    process.execPath,
    ['node_modules/.bin/functions-framework', '--source=dist/gcp', ...flags],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    },
  );
  const log: Record<string, unknown>[] = [];
  const stderrLines: string[] = [];
  createInterface({ input: child.stderr }).on('line', (line) => stderrLines.push(line));
  const lines = createInterface({ input: child.stdout }).on('line', (line) => {
    if (line.startsWith('{')) log.push(JSON.parse(line) as Record<string, unknown>);
  });
  const url = `http://127.0.0.1:${port}/`;
  const started = new Promise<void>((resolve) => {
    lines.on('line', (line) => {
      if (line.startsWith('URL:')) resolve();
    });
  });
  const timeout = AbortSignal.timeout(startsWithinMs);
  const failed = Promise.race([once(child, 'exit'), once(timeout, 'abort')]).then(() => {
    throw new Error(`${target} did not start:\n${stderrLines.join('\n')}`);
  });
  // An exit is an error only before the function has started.
  failed.catch(() => undefined);
  await Promise.race([started, failed]).catch(async (error: unknown) => {
    await end(child);
    throw error;
  });
  const logged: LabFunction['logged'] = async (isIt) => {
    for (;;) {
      const entry = log.find(isIt);
      if (entry) return entry;
      await once(lines, 'line');
    }
  };
  return { url, peakMb: () => peakMb(child), log, logged, close: () => end(child) };
}

function peakMb({ pid }: ChildProcess): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Math.round(Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) / 1_000);
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/**
 * Delivers a CloudEvent as Eventarc does, and waits until all log lines of the call have been read.
 * @returns the HTTP status; for a status other than 2xx, Eventarc would deliver the event again
 */
export async function deliverEvent(running: LabFunction, event: Record<string, unknown>): Promise<number> {
  const status = await post(running, event);
  await waitForCompleteLog(running);
  return status;
}

async function post({ url }: LabFunction, event: Record<string, unknown>): Promise<number> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/cloudevents+json' },
    body: JSON.stringify(event),
  });
  await response.arrayBuffer();
  return response.status;
}

/**
 * Sends an event that the function ignores, and waits for its log line. Lines arrive in order, so all earlier lines
 * have been read by then.
 */
async function waitForCompleteLog(running: LabFunction): Promise<void> {
  const { log, logged } = running;
  const id = randomUUID();
  await post(running, { specversion: '1.0', id, source: 'lab', type: 'lab.marker' });
  const marker = await logged(({ eventId }) => eventId === id);
  log.splice(log.indexOf(marker), 1);
}
