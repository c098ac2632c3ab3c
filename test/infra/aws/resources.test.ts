import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { stackResources } from '../../../infra/aws/resources';
import { parseSettings } from '../../../infra/aws/settings';

const params = {
  stage: 'prod',
  alarmEmail: '',
  sweepMinutes: 5,
  runbook: 'docs/runbook.md',
  functions: { 'node-joined': { timeout: 60 }, sweep: { timeout: 290 } },
};

test('parameters that are not usable are all told at once, with what was read and what is accepted', () => {
  const told = () => parseSettings({ ...params, stage: 'PROD', alarmEmail: 'nobody', sweepMinutes: 2 });
  for (const read of ['"PROD"', '"nobody"', 'read 2']) expect(told).toThrow(read);
  expect(told).toThrow('accepted are whole minutes from 5 to 60');
});

test('a config or program that is newer than the build is refused', () => {
  const folder = mkdtempSync(join(tmpdir(), 'peermasq-'));
  mkdirSync(join(folder, 'shared/node'), { recursive: true });
  writeFileSync(join(folder, 'shared/node/peermasq.sh'), 'new');
  expect(() => stackResources(folder, params)).toThrow(
    'dist/aws/peermasq.sh is not what shared/node/peermasq.sh is now. Run: npm run build',
  );
  rmSync(folder, { recursive: true });
});
