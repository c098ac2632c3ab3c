import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { chmodSync, existsSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describeKernel } from '../lab/kernel';
import { backendVpc, clear, missing, type Network, openNetwork, ruleset, sh } from './network';

const many = ruleset(
  1,
  'source 10.132.0.0/14',
  'masquerade 10.193.0.0/16 a',
  ...Array.from({ length: 40 }, (_, i) => `masquerade 10.100.${i}.0/24 m${i}`),
);

/**
 * Rejects the options that iptables-restore rejected before 1.6.2. The real program gets a different lock file,
 * because the old version had no lock.
 */
const withoutWait = `for argument; do
  if [ "$argument" = -w ]; then echo "iptables-restore: invalid option -- 'w'" >&2; exit 1; fi
done
export XTABLES_LOCKFILE=/run/other.lock`;

describeKernel('on a node with other tools or versions,', missing('iptables-legacy'), () => {
  let network: Network;
  let tools: string;

  beforeAll(async () => {
    network = await openNetwork('iptables-nft');
    tools = join(network.node.folder, 'tools');
  });
  afterEach(async () => {
    rmSync(tools, { recursive: true, force: true });
    await clear(network);
  });
  afterAll(() => network.lab.close());

  /** Makes a script run before a program whenever the program is called. */
  const wrap = (name: string, script: string) => {
    mkdirSync(tools, { recursive: true });
    writeFileSync(join(tools, name), `#!/bin/sh\n${script}\nexec /usr/sbin/${name} "$@"\n`);
    chmodSync(join(tools, name), 0o755);
  };
  const apply = (text: string, env: Record<string, string> = {}) =>
    network.apply(text, { PATH: `${tools}:${process.env['PATH'] ?? ''}`, ...env });
  const legacy = { PEERMASQ_BACKEND: 'iptables-legacy', PEERMASQ_WAIT: '1' };

  describe('a change that iptables-nft-restore refuses with exit code 4', () => {
    const refusal =
      'iptables-nft-restore v1.8.9 (nf_tables): \nline 4: RULE_APPEND failed (Invalid argument): rule in chain PEERMASQ';
    const refuse = `cat >/dev/null; printf '%s\\n' '${refusal}' >&2; exit 4`;

    test('fails, and the report has the last line of the error', async () => {
      wrap('iptables-nft-restore', refuse);
      expect(await apply(backendVpc())).toMatchObject({
        code: 3,
        result: 'failed',
        reason: 'iptables-nft-restore: line 4: RULE_APPEND failed (Invalid argument): rule in chain PEERMASQ',
      });
    });

    test('is retried with a list of rules if it contained a set', async () => {
      wrap(
        'iptables-nft-restore',
        `text=$(mktemp); cat >"$text"
        if grep -q match-set "$text"; then printf '%s\\n' '${refusal}' >&2; exit 4; fi
        exec <"$text"`,
      );
      const report = await apply(many);
      expect(report).toMatchObject({ result: 'applied', proven: true, rules: 41 });
      expect(report.warnings).toEqual([expect.stringMatching(/^cannot use a set .*RULE_APPEND failed/)]);
    });
  });

  test('a lock file of iptables-legacy that cannot be opened makes apply fail instead of reporting busy', async () => {
    const report = await apply(backendVpc(), { ...legacy, XTABLES_LOCKFILE: '/nowhere/lock' });
    expect(report).toMatchObject({ code: 3, result: 'failed' });
    expect(report.reason).toContain("can't open lock file /nowhere/lock");
  });

  describe('iptables-restore without -w (before 1.6.2)', () => {
    test('runs while the node program holds the lock', async () => {
      wrap('iptables-legacy-restore', `${withoutWait}\nflock -n /run/xtables.lock true && exit 1`);
      expect(await apply(backendVpc(), legacy)).toMatchObject({ result: 'applied', proven: true });
      expect(await network.sourceSeen()).toBe('10.209.0.2');
      await sh(network.node, 'flock -n /run/xtables.lock true');
    });

    test('does not run while another program holds the lock', async () => {
      wrap('iptables-legacy-restore', withoutWait);
      const holder = network.node.spawn(['flock', '/run/xtables.lock', 'sh', '-c', 'echo held; sleep 60']);
      await holder.output(/held/);
      expect(await apply(backendVpc(), legacy)).toMatchObject({ code: 4, result: 'busy' });
      await holder.stop();
    });

    test('is run again if another program has overwritten the change with the old table', async () => {
      const lost = join(network.node.folder, 'lost');
      wrap('iptables-legacy-restore', `${withoutWait}\nif [ ! -e ${lost} ]; then touch ${lost}; exit 0; fi`);
      expect(await apply(backendVpc(), legacy)).toMatchObject({ result: 'applied', proven: true });
    });
  });

  test('IPv4 destinations need no working IPv6 tools', async () => {
    for (const name of ['ip6tables-nft', 'ip6tables-nft-save', 'ip6tables-nft-restore'])
      wrap(name, 'echo "ip6tables: Address family not supported by protocol" >&2; exit 1');
    await network.node.run(['nft', 'add table ip6 nat; add table ip6 mangle; add table ip6 raw']);
    expect(await apply(backendVpc())).toMatchObject({ result: 'applied', proven: true, warnings: [] });
    const failed = await apply(ruleset(101, 'masquerade fd00:193::/32 six'));
    expect(failed).toMatchObject({ code: 3, result: 'failed' });
    expect(failed.reason).toContain('ip6tables');
  });

  test('without nft, a missing table is created even if iptables cannot tell that it is missing', async () => {
    for (const name of ['iptables-nft', 'iptables-nft-save'])
      wrap(
        name,
        '/usr/sbin/nft list table ip "$(echo "$*" | sed -E "s/.*-t ([a-z]+).*/\\1/")" >/dev/null 2>&1 || exit 1',
      );
    const env = { ...only('nft'), PEERMASQ_BACKEND: 'iptables-nft' };
    const report = await network.apply(backendVpc(), env);
    expect(report).toMatchObject({ result: 'applied', rules: 2, proven: false });
    expect(report.reason).toMatch(/^table raw of iptables-nft cannot be read: .* \(is nft installed\?\)$/);
  });

  test('the report is one line even if iptables-nft -C prints the rule, as in 1.8.7', async () => {
    wrap('iptables-nft', 'case " $* " in *" -C "*) echo "PEERMASQ  all opt -- in * out *" ;; esac');
    const native = 'ip nat POSTROUTING meta mark and 1 == 1 masquerade';
    await network.apply(backendVpc());
    await network.node.run(['nft', `add rule ${native}`]);
    expect(await apply(backendVpc(101))).toMatchObject({ result: 'unchanged', proven: true });
  });

  test('a flock without -w (as in busybox) is enough, and cmp is not needed', async () => {
    wrap(
      'flock',
      `for argument; do [ "$argument" != -w ] || { echo "flock: invalid option -- 'w'" >&2; exit 1; }; done
      exec /usr/bin/flock "$@"`,
    );
    wrap('cmp', 'exit 127');
    expect(await apply(many)).toMatchObject({ result: 'applied', proven: true });
    expect(await apply(many)).toMatchObject({ result: 'unchanged', proven: true });
  });

  test('a nsenter that has no long options and reads all options (as in busybox) is enough for probes', async () => {
    // The lab enters two namespaces at once.
    wrap(
      'nsenter',
      `case "$1 $2" in --*' --mount='* | -n*' --') ;; *) echo "nsenter: unrecognized option '$1'" >&2; exit 1 ;; esac
      exec /usr/bin/nsenter "$@"`,
    );
    const report = await apply(backendVpc().replace(/$/, 'probe 10.193.0.3:8080\n'));
    expect(report).toMatchObject({ result: 'applied', proven: true });
    expect(report.probes).toEqual([{ to: '10.193.0.3:8080', from: '10.132.0.10', reached: true }]);
  });

  test('the error names each required tool that is missing', async () => {
    expect(await network.apply(backendVpc(), only('sha256sum'))).toMatchObject({
      code: 3,
      reason: 'sha256sum is not installed; install its package (flock: util-linux; most others: coreutils)',
    });
  });

  test('the program needs no tools other than those that it lists', async () => {
    const env = only();
    expect(await network.apply(many, env)).toMatchObject({ result: 'applied', proven: true });
    expect(await network.peermasq(['repair'], { env })).toMatchObject({ result: 'unchanged', proven: true });
  });

  test.each(['ip', 'nft'])('the report says what is not proven without %s', async (tool) => {
    const report = await network.apply(backendVpc(), only(tool));
    expect(report).toMatchObject({ result: 'applied', proven: tool === 'nft' });
    expect(JSON.stringify(report)).toContain(`${tool} is not installed`);
  });

  /** Returns environment variables with which the program finds only the tools that it lists, except the given tool. */
  function only(except?: string): Record<string, string> {
    mkdirSync(tools, { recursive: true });
    for (const name of [...requiredTools, ...optionalTools]) {
      const folder = requiredTools.includes(name) ? '/usr/bin' : '/usr/sbin';
      if (name !== except && !existsSync(join(tools, name)))
        symlinkSync(join(folder, name), join(tools, name));
    }
    const start = join(tools, '.start');
    // Otherwise, the program would append the usual folders to PATH.
    writeFileSync(start, `readonly PATH='${tools}'\n`);
    return { BASH_ENV: start };
  }
});

const requiredTools = [
  ...[
    'base64',
    'cat',
    'chmod',
    'cp',
    'cut',
    'flock',
    'grep',
    'gzip',
    'head',
    'mkdir',
    'mktemp',
    'mv',
    'rm',
    'rmdir',
  ],
  ...['sed', 'sha256sum', 'sleep', 'sort', 'stat', 'tail', 'tr', 'uniq', 'wc'],
];
const optionalTools = [
  ...['iptables-nft', 'iptables-nft-save', 'iptables-nft-restore', 'ip6tables-nft', 'ip6tables-nft-save'],
  ...['ip6tables-nft-restore', 'ip', 'nft', 'ipset', 'conntrack', 'tc'],
];
