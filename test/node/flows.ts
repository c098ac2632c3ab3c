import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Host } from '../lab/netns';

/** Whether conntrack can read connections from a file, since version 1.4.7. Otherwise each takes a process. */
export const loadsFlowFiles = (() => {
  try {
    return execFileSync('conntrack', ['--help'], { encoding: 'utf8' }).includes('--load-file');
  } catch {
    return false;
  }
})();

/** Adds connections to the host's table. Each line has the arguments of `conntrack`, starting with `-A`. */
export async function loadFlows(host: Host, lines: readonly string[]): Promise<void> {
  const file = join(host.folder, 'flows');
  if (loadsFlowFiles) {
    writeFileSync(file, lines.join('\n'));
    await host.run(['conntrack', '--load-file', file]);
    return;
  }
  writeFileSync(file, lines.map((line) => `conntrack ${line.replace(/^-A/, '-I')} >&2\n`).join(''));
  await host.run(['sh', '-e', file], { timeoutMs: 60_000 });
}
