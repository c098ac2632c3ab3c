import { describe, expect, test } from '@jest/globals';
import { describeKernel, isRoot } from '../lab/kernel';
import { environments } from './environments';
import type { Environment } from './environments/environment';
import { expectedOutcome, runEnvironment } from './environments/outcome';
import { type Backend, backends, missing } from './network';

// The long run, on every backend: npm run test:environments.
const length = process.env['PEERMASQ_ENVIRONMENTS'] === 'all' ? 'long' : 'short';
const tested = length === 'long' ? backends : (['iptables-nft'] as const);
const included = environments.filter(({ inLongRun }) => length === 'long' || !inLongRun);
const needsRoot = isRoot ? undefined : 'BPF programs cannot be loaded in a user namespace';

describe.each(tested)('with %s, the peer is reached and what worked keeps working:', (backend) => {
  describeKernel('environments', missing(backend), () => {
    testEach(
      included.filter((each) => !each.needsRoot),
      backend,
    );
  });
  describeKernel('environments that need root', missing(backend) ?? needsRoot, () => {
    testEach(
      included.filter((each) => each.needsRoot),
      backend,
    );
  });
});

function testEach(those: readonly Environment[], backend: Backend): void {
  test.concurrent.each(those)(
    '$name',
    async (environment) => {
      const outcome = await runEnvironment(environment, { backend, length });
      const { before, ...expected } = expectedOutcome(environment, { backend, length });
      expect(outcome).toMatchObject({ before });
      // `pending` goes when the program does it right.
      const isPending = backend === 'nft' ? environment.pending === true : environment.pending !== undefined;
      if (isPending) expect(outcome).not.toMatchObject(expected);
      else expect(outcome).toMatchObject(expected);
    },
    60_000,
  );
}
