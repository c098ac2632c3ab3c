import { describe, expect, test } from '@jest/globals';
import { describeKernel } from '../lab/kernel';
import { environments } from './environments';
import { expectedOutcome, runEnvironment } from './environments/outcome';
import { backends, missing } from './network';

// Every backend in the long run: npm run test:environments.
const tested = process.env['PEERMASQ_ENVIRONMENTS'] === 'all' ? backends : (['iptables-nft'] as const);

describe.each(tested)('on %s', (backend) => {
  describeKernel('pods reach the peer, and what worked keeps working:', missing(backend), () => {
    for (const environment of environments) {
      const define = environment.pending ? test.concurrent.failing : test.concurrent;
      define(environment.name, async () => {
        expect(await runEnvironment(environment, backend)).toMatchObject(expectedOutcome(environment));
      });
    }
  });
});
