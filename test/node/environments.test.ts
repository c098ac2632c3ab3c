import { describe, expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { describeKernel } from '../lab/kernel';
import { environments } from './environments';
import { expectedOutcome, runEnvironment } from './environments/outcome';
import { backends, missing } from './network';

// Every backend in the long run: npm run test:environments.
const tested = process.env['PEERMASQ_ENVIRONMENTS'] === 'all' ? backends : (['iptables-nft'] as const);
const isRoot = readFileSync('/proc/self/uid_map', 'utf8').trim().split(/\s+/)[1] === '0';
const groups = [
  { needs: '', missingHere: undefined, group: environments.filter(({ needsRoot }) => !needsRoot) },
  {
    needs: ' (as root)',
    missingHere: isRoot ? undefined : 'BPF programs cannot be loaded in a user namespace',
    group: environments.filter(({ needsRoot }) => needsRoot),
  },
];

describe.each(tested)('on %s', (backend) => {
  describe.each(groups)(
    'where pods reach the peer, and what worked keeps working$needs,',
    ({ missingHere, group }) => {
      describeKernel('in', missing(backend) ?? missingHere, () => {
        test.concurrent.each(group)('$name', async (environment) => {
          const outcome = await runEnvironment(environment, backend);
          const { before, ...expected } = expectedOutcome(environment);
          expect(outcome).toMatchObject({ before });
          // `pending` goes when the program does it right.
          if (environment.pending) expect(outcome).not.toMatchObject(expected);
          else expect(outcome).toMatchObject(expected);
        });
      });
    },
  );
});
