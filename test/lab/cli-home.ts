import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface CliResult {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CliRunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly stdin?: string;
  /** A callback that runs when the process has started. It gets a function that sends signals to the process. */
  readonly onStart?: (signal: (name: NodeJS.Signals) => void) => void;
  /** A callback for new output on stderr. It gets the complete output on stderr so far. */
  readonly onStderr?: (text: string, signal: (name: NodeJS.Signals) => void) => void;
}

/** A separate home folder, so that the command line finds no credentials or journals of this machine. */
export interface CliHome {
  readonly folder: string;
  /** The environment for programs that use this home folder. */
  readonly env: Readonly<Record<string, string>>;
  /**
   * Writes a file to the home folder.
   * @returns the path of the file
   */
  readonly write: (name: string, text: string | Buffer) => string;
  /** Runs the command line from dist/, as a user would. */
  readonly peermasq: (args: readonly string[], options?: CliRunOptions) => Promise<CliResult>;
  readonly close: () => void;
}

export function openCliHome(more: Readonly<Record<string, string>> = {}): CliHome {
  const folder = mkdtempSync(join(tmpdir(), 'peermasq-cli-'));
  const { PATH = '' } = process.env;
  const env = { PATH, HOME: folder, ...more };
  return {
    folder,
    env,
    write(name, text) {
      writeFileSync(join(folder, name), text);
      return join(folder, name);
    },
    peermasq: (args, options = {}) => run(folder, args, { ...options, env: { ...env, ...options.env } }),
    close: () => {
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Runs asynchronously, because the local clouds run in this process. */
function run(
  home: string,
  args: readonly string[],
  { env = {}, stdin = '', onStart, onStderr }: CliRunOptions,
): Promise<CliResult> {
  const child = spawn(process.execPath, [join(process.cwd(), 'dist/cli/peermasq.mjs'), ...args], {
    cwd: home,
    env,
    timeout: 60_000,
  });
  onStart?.((name) => child.kill(name));
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (data: Buffer) => (stdout += data.toString()));
  child.stderr.on('data', (data: Buffer) => {
    stderr += data.toString();
    onStderr?.(stderr, (name) => child.kill(name));
  });
  child.stdin.on('error', () => undefined);
  child.stdin.end(stdin);
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (status) => {
      resolve({ status, stdout, stderr });
    });
  });
}
