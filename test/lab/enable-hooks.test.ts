import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';

const program = join(process.cwd(), 'test/lab/enable-hooks.mjs');
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'peermasq-hooks-'));
});

afterEach(() => {
  rmSync(folder, { recursive: true });
});

/** Environment variables that hide the git configuration of the user who runs the tests. */
const isolated = {
  ...process.env,
  CI: '',
  HOME: '/nonexistent',
  GIT_CONFIG_GLOBAL: '/dev/null',
  GIT_CONFIG_NOSYSTEM: '1',
};

function git(...args: readonly string[]): string {
  return execFileSync('git', args, { cwd: folder, env: isolated, encoding: 'utf8' }).trim();
}

function enableHooks(env: NodeJS.ProcessEnv = isolated): string {
  const source = `import(${JSON.stringify(program)}).then(({ enableHooks }) => enableHooks())`;
  execFileSync(process.execPath, ['--eval', source], { cwd: folder, env, stdio: 'ignore' });
  const { stdout } = spawnSync('git', ['config', '--get', 'core.hooksPath'], {
    cwd: folder,
    env,
    encoding: 'utf8',
  });
  return stdout.trim();
}

test('setup enables the hooks in a clone', () => {
  git('init', '-q');
  expect(enableHooks()).toBe('.githooks');
});

test('setup enables the hooks in a worktree', () => {
  git('init', '-q', 'clone');
  git('-C', 'clone', '-c', 'user.name=a', '-c', 'user.email=a@b', 'commit', '-q', '--allow-empty', '-m', 'a');
  git('-C', 'clone', 'worktree', 'add', '-q', '../worktree');
  const outer = folder;
  folder = join(outer, 'worktree');
  const path = enableHooks();
  folder = outer;
  expect(path).toBe('.githooks');
});

test('setup keeps a hooks folder that is already set, locally or globally', () => {
  git('init', '-q');
  writeFileSync(join(folder, 'global'), '[core]\n\thooksPath = /mine\n');
  expect(enableHooks({ ...isolated, GIT_CONFIG_GLOBAL: join(folder, 'global') })).toBe('/mine');
  git('config', 'core.hooksPath', 'other');
  expect(enableHooks()).toBe('other');
});

test('setup does nothing in CI, or in a copy without .git that lies inside another repository', () => {
  git('init', '-q');
  expect(enableHooks({ ...isolated, CI: 'true' })).toBe('');
  const outer = folder;
  folder = join(outer, 'copy');
  cpSync(program, join(folder, 'program.mjs'));
  expect(enableHooks()).toBe('');
  folder = outer;
});
