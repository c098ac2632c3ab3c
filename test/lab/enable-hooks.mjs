import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';

const hooks = '.githooks';
const git = (...args) => spawnSync('git', ['config', ...args], { encoding: 'utf8' });

/**
 * Lets git run this repository's hooks. Skipped in CI, in a copy without .git (a file in worktrees), and when
 * the user has set another hooks folder, locally or globally.
 */
export function enableHooks() {
  if (process.env.CI || !existsSync('.git')) return;
  const { status } = git('--get', 'core.hooksPath');
  // 1: not set. Anything else, such as a missing git, does not stop the setup.
  if (status !== 1) return;
  if (git('--local', 'core.hooksPath', hooks).status !== 0) return;
  console.error(`+ git config core.hooksPath ${hooks}`);
}
