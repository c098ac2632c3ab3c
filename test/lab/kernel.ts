import { describe, test } from '@jest/globals';

/** `yes`, or `no: REASON`; set by test/lab/enter.mjs, which creates the namespaces. */
const lab = process.env['PEERMASQ_LAB'] ?? 'no: started outside test/lab/enter.mjs; use npm test';

/**
 * A `describe` for tests that need namespaces, iptables and nft. If unavailable, they are skipped with the
 * reason in their name; with CI=true a skip is a failure.
 */
export function describeKernel(name: string, missing: string | undefined, define: () => void): void {
  const reason = lab === 'yes' ? missing : lab;
  if (reason === undefined) {
    describe(name, define);
  } else if (process.env['CI'] === 'true') {
    test(`${name}: must run in CI`, () => {
      throw new Error(`Kernel tests cannot run here: ${reason}`);
    });
  } else {
    describe.skip(`${name} (skipped: ${reason})`, define);
  }
}
