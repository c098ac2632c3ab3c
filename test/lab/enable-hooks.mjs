import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';

const hooks = '.githooks';
const git = (...args) => spawnSync('git', ['config', ...args], { encoding: 'utf8' });

/**
 * Configures git to run this repository's hooks. Does nothing in CI, in a copy without .git (a folder in a clone, a
 * file in a worktree), or if core.hooksPath is already set, locally or globally.
 */
export function enableHooks() {
  if (process.env.CI || !existsSync('.git')) return;
  const { status } = git('--get', 'core.hooksPath');
  // Status 1 means that the option is not set. Other failures, such as a missing git, do not stop the setup.
  if (status !== 1) return;
  if (git('--local', 'core.hooksPath', hooks).status !== 0) return;
  console.error(`+ git config core.hooksPath ${hooks}`);
}
