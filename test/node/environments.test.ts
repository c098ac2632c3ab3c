import { describe, expect, test } from '@jest/globals';
import { describeKernel, isRoot } from '../lab/kernel';
import { environments } from './environments';
import type { Environment } from './environments/environment';
import { expectedOutcome, runEnvironment } from './environments/outcome';
import { nftCommand } from './environments/eks-settings';
import { type Backend, backends, missing } from './network';

// In the long run, every environment is tested on every backend: npm run test:environments.
const length = process.env['PEERMASQ_ENVIRONMENTS'] === 'all' ? 'long' : 'short';
const tested = length === 'long' ? backends : (['iptables-nft'] as const);
const included = environments.filter(({ inLongRun }) => length === 'long' || !inLongRun);
const needsRoot = isRoot ? undefined : 'BPF programs cannot be loaded in a user namespace';

describe.each(tested)('with %s, pods reach the peer and existing connections keep working in', (backend) => {
  const runnable = included.filter((each) => backend !== 'nft' || !each.missing?.includes(nftCommand));
  describeKernel('this environment:', missing(backend), () => {
    testEach(
      runnable.filter((each) => !each.needsRoot),
      backend,
    );
  });
  describeKernel('this environment, which needs root:', missing(backend) ?? needsRoot, () => {
    testEach(
      runnable.filter((each) => each.needsRoot),
      backend,
    );
  });
});

function testEach(those: readonly Environment[], backend: Backend): void {
  test.concurrent.each(those)(
    '$name',
    async (environment) => {
      const outcome = await runEnvironment(environment, { backend, length });
      expect(outcome).toMatchObject(expectedOutcome(environment, { backend, length }));
    },
    60_000,
  );
}
