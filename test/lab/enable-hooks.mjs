import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';

const hooks = '.githooks';
const git = (...args) => spawnSync('git', ['config', ...args], { encoding: 'utf8' });

/**
 * Lets git run the hooks of this repository. Not in CI, not in a copy without .git (a file in worktrees), and not when
 * the user has chosen another folder, here or for all repositories.
 */
export function enableHooks() {
  if (process.env.CI || !existsSync('.git')) return;
  const { status } = git('--get', 'core.hooksPath');
  // 1: not set. Anything else, such as a missing git, does not stop the setup.
  if (status !== 1) return;
  if (git('--local', 'core.hooksPath', hooks).status !== 0) return;
  console.error(`+ git config core.hooksPath ${hooks}`);
}
