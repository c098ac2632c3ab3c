import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { alarmResources } from '../../../infra/aws/alarms';
import { queueSettings } from '../../../infra/aws/queues';
import { stackResources } from '../../../infra/aws/resources';
import { params, settingsWith } from './settings';

describe('the build rejects', () => {
  test('invalid parameters, and reports all invalid values and the expected values in one error', () => {
    const bad = {
      stage: 'PROD',
      alarmEmail: 'not-an-address',
      objectiveMinutes: 0,
      sweepMinutes: 2,
      launchGate: 'maybe',
      memberAccounts: '12',
    };
    const parse = () => settingsWith(bad);
    for (const read of [
      '"PROD"',
      '"not-an-address"',
      'invalid value 0',
      'invalid value 2',
      '"maybe"',
      '"12"',
    ])
      expect(parse).toThrow(read);
    expect(parse).toThrow('expected whole minutes from 5 to 60');
  });

  test('an outdated build: a config or program that was changed after it', () => {
    const folder = mkdtempSync(join(tmpdir(), 'peermasq-'));
    mkdirSync(join(folder, 'shared/node/src'), { recursive: true });
    writeFileSync(join(folder, 'shared/node/src/00-new.bash'), 'new');
    expect(() => stackResources(folder, params)).toThrow(
      'dist/aws/peermasq.sh is out of date: shared/node/src has changed. Run: npm run build',
    );
    rmSync(folder, { recursive: true });
  });

  test('a queue whose function does not exist', () => {
    expect(() => queueSettings({ functions: {}, objectiveMinutes: 10 })).toThrow(
      'serverless.yml has no function node-joined',
    );
  });
});

test.each([
  [10, 20],
  [11, 21],
  [720, 730],
])(
  'with an objective of %i minutes, a message is delivered up to %i times',
  (objectiveMinutes, deliveries) => {
    const settings = queueSettings(settingsWith({ objectiveMinutes }));
    expect(settings.map(({ maxReceiveCount }) => maxReceiveCount)).toEqual([
      deliveries,
      deliveries,
      deliveries,
    ]);
  },
);

describe('the alarm nodes-unproven', () => {
  test.each([
    [10, 5, 2],
    [11, 5, 3],
    [5, 5, 1],
    [1, 60, 1],
    [720, 5, 144],
  ])(
    'with an objective of %i min and a sweep every %i min requires %i consecutive sweeps',
    (objectiveMinutes, sweepMinutes, sweeps) => {
      const { NodesUnprovenAlarm } = alarmResources(settingsWith({ objectiveMinutes, sweepMinutes }));
      const { EvaluationPeriods, Metrics } = NodesUnprovenAlarm?.Properties ?? {};
      expect(EvaluationPeriods).toBe(sweeps);
      expect(Metrics).toMatchObject([{ MetricStat: { Period: sweepMinutes * 60, Stat: 'Maximum' } }]);
      // CloudWatch alarms can evaluate at most one day.
      expect(sweeps * sweepMinutes * 60).toBeLessThanOrEqual(86_400);
    },
  );
});
