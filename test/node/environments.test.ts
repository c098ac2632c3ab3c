import { describe, expect, test } from '@jest/globals';
import { describeKernel } from '../lab/kernel';
import { environments } from './environments';
import { expectedOutcome, runEnvironment } from './environments/outcome';
import { backends, missing } from './network';

// Every backend in the long run: npm run test:environments.
const tested = process.env['PEERMASQ_ENVIRONMENTS'] === 'all' ? backends : (['iptables-nft'] as const);

describe.each(tested)('on %s', (backend) => {
  describeKernel('pods reach the peer, and what worked keeps working:', missing(backend), () => {
    test.concurrent.each(environments)('$name', async (environment) => {
      const outcome = await runEnvironment(environment, backend);
      const { before, ...expected } = expectedOutcome(environment);
      expect(outcome).toMatchObject({ before });
      // `pending` goes when the program does it right.
      if (environment.pending) expect(outcome).not.toMatchObject(expected);
      else expect(outcome).toMatchObject(expected);
    });
  });
});
