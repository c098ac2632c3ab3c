import { describe, test } from '@jest/globals';
import { readFileSync } from 'node:fs';

/**
 * Whether kernel tests can run: `yes`, or `no: REASON`. test/lab/enter.mjs creates the namespaces for them and sets the
 * environment variable.
 */
const lab = process.env['PEERMASQ_LAB'] ?? 'no: started outside test/lab/enter.mjs; use npm test';

/** Whether this process is root in the initial user namespace. Only there can it load BPF programs. */
export const isRoot = /^\s*0\s+0\s+4294967295\s*$/.test(readFileSync('/proc/self/uid_map', 'utf8'));

/**
 * Defines a `describe` block of tests that need namespaces, iptables and nft. If these are unavailable, the tests are
 * skipped and the title gives the reason. With CI=true, the block fails instead.
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
