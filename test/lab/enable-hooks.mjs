import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';

const hooks = '.githooks';
const git = (...args) => spawnSync('git', ['config', ...args], { encoding: 'utf8' });

/**
 * Lets git run this repository's hooks. Does nothing in CI, in a copy without .git (which is a file in worktrees), or
 * if the user has set another hooks folder, locally or globally.
 */
export function enableHooks() {
  if (process.env.CI || !existsSync('.git')) return;
  const { status } = git('--get', 'core.hooksPath');
  // Status 1 means that the option is not set. No other status, such as for a missing git, stops the setup.
  if (status !== 1) return;
  if (git('--local', 'core.hooksPath', hooks).status !== 0) return;
  console.error(`+ git config core.hooksPath ${hooks}`);
}
