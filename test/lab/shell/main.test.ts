import { expect, test } from '@jest/globals';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { describeKernel } from '../kernel';

const lab = (args: readonly string[], input = '') => {
  const argv = ['--import', 'tsx', join(__dirname, 'main.ts'), ...args];
  return spawnSync(process.execPath, argv, { encoding: 'utf8', input });
};

describeKernel('npm run lab', undefined, () => {
  test('opens a shell in which peermasq uses the local cloud', () => {
    const peermasq = 'node dist/cli/peermasq.mjs';
    const doctor = '--from 10.244.0.10 --node i-00000000000000001 --to 10.0.3.20:5432';
    const commands = [
      'request',
      `${peermasq} backfill --yes`,
      'request',
      'on-node iptables-save -t nat',
      `${peermasq} doctor ${doctor}`,
    ];
    const { stdout } = lab([], commands.join('\n'));
    expect(stdout).toMatch(
      /^\{"reached":false,[^]*"reached":true,[^]*-A POSTROUTING .* -j PEERMASQ\n[^]*No problems found/,
    );
  });

  test('rejects an unknown value for --break', () => {
    const { status, stderr } = lab(['--cloud', 'gcp', '--break', 'peering-pending']);
    expect(status).toBe(2);
    expect(stderr).toMatch(/^invalid value "peering-pending" for --break on gcp[^]*"no-return-route"/);
  });
});
