import { parseSettings, type Settings } from '../../../infra/aws/settings';

const consumer = { timeout: 60, events: [{ sqs: { maximumBatchingWindow: 10 } }] };

/** The default settings in serverless.yml. */
export const params = {
  stage: 'prod',
  alarmEmail: '',
  objectiveMinutes: 10,
  sweepMinutes: 5,
  launchGate: 'off',
  memberAccounts: '',
  runbook: 'docs/runbook.md',
  functions: {
    'node-joined': consumer,
    'peering-changed': consumer,
    'command-finished': consumer,
    sweep: { timeout: 290 },
  },
};

export const settingsWith = (changed: Readonly<Record<string, unknown>> = {}): Settings =>
  parseSettings({ ...params, ...changed });
