import { describe, expect, test } from '@jest/globals';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

const demo = (lab: string, ...args: string[]) => {
  const argv = ['--import', 'tsx', join(__dirname, 'main.ts'), ...args];
  return spawnSync(process.execPath, argv, { encoding: 'utf8', env: { ...process.env, PEERMASQ_LAB: lab } });
};

// These tests do not run the scenarios; `npm run demo` does.
describe('npm run demo', () => {
  test('prints its usage for an unknown option', () => {
    const { status, stdout, stderr } = demo('yes', '--jsn');
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).toMatch(/'--jsn'[^]*Usage: npm run demo/);
  });

  test('explains why it cannot run without namespaces', () => {
    const { status, stdout, stderr } = demo('no: unshare failed: Operation not permitted');
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
    expect(stderr).toMatch(
      /needs network namespaces.*unshare failed: Operation not permitted[^]*Run it as root/,
    );
  });
});
