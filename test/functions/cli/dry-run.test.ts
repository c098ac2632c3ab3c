import { beforeEach, expect, jest, test } from '@jest/globals';
import { dryRun } from '../../../functions/cli/dry-run';
import type { Target } from '../../../functions/cli/targets';
import { parseCidr } from '../../../shared/core/model/cidr';
import { parseConfig } from '../../../shared/core/model/config';
import { PermanentError } from '../../../shared/core/model/errors';
import type { Inspection } from '../../../shared/core/cloud';
import { FakeCloud } from '../../core/reconcile/fake-cloud';

const cloud = new FakeCloud();
cloud.add({
  node: {
    ref: { cloud: 'gcp', project: 'identity-nonprod', zone: 'europe-west1-c', id: '17' },
    name: 'gke-frontend-1',
    clusters: ['shop'],
    state: 'running',
    platform: 'linux',
    isControlPlane: false,
  },
  networkContext: {
    network: 'vpc-b',
    networkRanges: [parseCidr('10.209.0.0/16')],
    podRanges: [],
    routedPodRanges: [],
    routes: [{ kind: 'peerings', via: 'to-backend', destination: '10.193.0.0/16', state: 'active' }],
    discoveredKinds: ['peerings'],
  },
  isReady: true,
});

function targetWith(getRuleSetsInForce: Inspection['getRuleSetsInForce']): Target {
  const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
  return {
    name: 'gcp identity-nonprod',
    cloud,
    config: parseConfig('clusters: {shop: {pods: [10.132.0.0/14], masquerade: [peerings]}}'),
    clock: Date,
    log,
    inspection: { takeSnapshot: () => Promise.reject(new Error('not used')), getRuleSetsInForce },
    reach: { checks: () => Promise.reject(new Error('not used')) },
  };
}

const runDryRun = (target: Target) =>
  dryRun([target], { clusters: ['shop'], deadline: Date.now() + 5_000, withBefore: true });

let stderr: string;
beforeEach(() => {
  stderr = '';
  jest.spyOn(process.stderr, 'write').mockImplementation((text) => {
    stderr += String(text);
    return true;
  });
});

test('a dry run without permission to read the current rule sets still plans nodes, and prints a warning', async () => {
  const denied = new PermanentError('access-denied', 'ssm:ListCommands is denied', { advice: 'Grant it.' });
  const { nodes, errors } = await runDryRun(targetWith(() => Promise.reject(denied)));
  expect(nodes).toMatchObject([{ outcome: { kind: 'planned', isChange: true } }]);
  expect(errors).toEqual([]);
  expect(stderr).toContain(
    'gcp identity-nonprod: cannot read the rule sets in force, so every line is shown as new: ssm:ListCommands',
  );
});

test('a dry run fails on an unexpected error instead of treating the error as a missing permission', async () => {
  await expect(
    runDryRun(targetWith(() => Promise.reject(new TypeError('no such property')))),
  ).rejects.toThrow(TypeError);
});
