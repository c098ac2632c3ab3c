import { describe, test } from '@jest/globals';
import { readFileSync } from 'node:fs';

/**
 * Whether kernel tests can run: `yes`, or `no: REASON`. test/lab/enter.mjs, which creates the namespaces, sets this
 * variable.
 */
const lab = process.env['PEERMASQ_LAB'] ?? 'no: started outside test/lab/enter.mjs; use npm test';

/** Whether this process is root outside any user namespace. BPF programs cannot be loaded inside one. */
export const isRoot = /^\s*0\s+0\s+4294967295\s*$/.test(readFileSync('/proc/self/uid_map', 'utf8'));

/**
 * A `describe` for tests that need namespaces, iptables and nft. If these are unavailable, the tests are skipped and
 * the title says why. With CI=true, a skip is a failure.
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
