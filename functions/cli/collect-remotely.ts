import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { Address } from '../../shared/core/model/cidr';
import { PermanentError } from '../../shared/core/model/errors';
import { collectScript } from './collect-script';
import { lastLine } from './connection';

const timeoutMs = 180_000;
const maxOutput = 128 * 1024 * 1024;

const advice =
  'Run the script that `npx peermasq collect` prints on the node, and pass its output with --rules.';

/** Becomes root if it is not, without a password, and reads the script from stdin. */
const rootShell = 'if [ "$(id -u)" = 0 ]; then exec sh; else exec sudo -n sh; fi';

/**
 * Runs the script of `collect` on a host, with the user's own ssh.
 * @throws PermanentError if that fails
 */
export function collectOverSsh(host: string, pod: Address | undefined): Promise<string> {
  requireName('--ssh', host, /^[\w.:@%[\]-]+$/);
  return runWithScript('ssh', ['-T', '--', host, rootShell], pod);
}

/**
 * Runs the script of `collect` on a node, in a privileged pod that kubectl creates and that is deleted afterwards.
 * @throws PermanentError if that fails
 */
export async function collectInDebugPod(node: string, pod: Address | undefined): Promise<string> {
  requireName('--kubectl-debug', node, /^[a-z\d.-]+$/);
  const shell = ['--', 'chroot', '/host', 'sh'];
  const args = ['debug', `node/${node}`, '-i', '--profile=sysadmin', '--image=busybox', ...shell];
  const output = await runWithScript('kubectl', args, pod);
  const [, debugPod] = /Creating debugging pod ([a-z\d.-]+) with/.exec(output) ?? [];
  if (debugPod !== undefined) await run('kubectl', ['delete', 'pod', debugPod, '--wait=false'], '');
  return output.slice(Math.max(output.indexOf('# peermasq: '), 0));
}

/** A name that starts with a dash would be an option. */
function requireName(option: string, name: string, pattern: RegExp): void {
  if (pattern.test(name) && !name.startsWith('-')) return;
  throw new PermanentError('bad-option', `invalid ${option} ${JSON.stringify(name)}: expected a name`, {
    advice: 'Pass the name as ssh or kubectl knows it.',
  });
}

async function runWithScript(
  program: string,
  args: readonly string[],
  pod: Address | undefined,
): Promise<string> {
  const output = await run(program, args, collectScript(pod));
  if (output.includes('# peermasq: ')) return output;
  throw new PermanentError('no-rules', `${program} printed nothing that the script prints`, { advice });
}

/** Runs a program with a list of arguments, never through a shell. */
async function run(program: string, args: readonly string[], stdin: string): Promise<string> {
  const running = promisify(execFile)(program, args, { timeout: timeoutMs, maxBuffer: maxOutput });
  // A program that exits early closes its input. Its exit code then says why.
  running.child.stdin?.on('error', () => undefined);
  running.child.stdin?.end(stdin);
  try {
    return (await running).stdout;
  } catch (cause) {
    const isAbsent = (cause as NodeJS.ErrnoException).code === 'ENOENT';
    const reason = isAbsent ? 'it is not installed' : lastLine(cause);
    throw new PermanentError('no-rules', `Cannot collect the rules with ${program}: ${reason}`, {
      advice,
      cause,
    });
  }
}
