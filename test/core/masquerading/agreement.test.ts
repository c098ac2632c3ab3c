import { expect, test } from '@jest/globals';
import { checkAgreement } from './agreement';

test('plan, decide, doctor and explain never contradict each other', () => {
  const { masqueraded, codes } = checkAgreement({ cases: 500, seed: 20261129 });
  expect(masqueraded).toBeGreaterThan(20);
  // `from-node` is missing because it is checked in every case. The two codes about return routes are missing because
  // only doctor uses them.
  expect([...codes.keys()].toSorted()).toEqual([
    'configured-range',
    'even-if-routed',
    'excepted-range',
    'inactive-route',
    'inside-cluster',
    'kind-not-discovered',
    'no-known-route',
    'not-in-node-subnet',
    'own-network',
    'pods-outside-network',
    'pods-routed',
    'refused-range',
    'requested-route',
    'reserved-range',
    'route-not-requested',
    'unknown-pod-range',
  ]);
});
