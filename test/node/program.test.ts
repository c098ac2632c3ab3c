import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { joinSections } from '../../infra/join-node-program';
import { shellcheckNodeProgram } from '../../infra/lint/shellcheck';
import { reservedSection, reservedSectionFile } from '../../infra/reserved-section';
import { describeKernel } from '../lab/kernel';
import { backendVpc, clear, missing, type Network, openNetwork, program } from './network';

describe('the node program', () => {
  test('passes shellcheck', () => {
    const found = shellcheckNodeProgram();
    // Setup cannot install shellcheck without root, so it may be missing outside CI.
    if (found !== undefined || process.env['CI'] === 'true') expect(found).toBe('');
  });

  test('consists of its sections, joined in the order of their names', () => {
    const names = readdirSync('shared/node/src').sort();
    const sections = names.map((name) => readFileSync(join('shared/node/src', name), 'utf8'));
    expect(names.filter((name) => !/^\d\d-[a-z]+\.bash$/.test(name))).toEqual([]);
    expect(joinSections()).toBe(sections.join('\n'));
  });

  test('contains the functions of its sections, and no comment below its header', () => {
    // bash 5.1 prints comments in process substitutions.
    const functionsOf = (text: string) =>
      execFileSync('bash', {
        input: text.replace(/main "\$@"\n$/, 'declare -f\n'),
        encoding: 'utf8',
      }).replaceAll(/^ *#.*\n/gm, '');
    const text = readFileSync(program, 'utf8');
    expect(functionsOf(text)).toBe(functionsOf(joinSections()));
    expect(text.match(/^ *#.*/gm)?.join('\n')).toBe(/^(#.*\n)+/.exec(joinSections())?.[0].trimEnd());
  });

  test('has the same reserved ranges as the functions', () => {
    expect(readFileSync(reservedSectionFile, 'utf8')).toBe(reservedSection());
  });

  test('uses && and || only in conditions, or before a command that leaves the function or reports an error', () => {
    const leaves =
      /^(?:.*(?:&&|\|\|) (?:return|continue|break|fail|refuse|busy|finish|warn|error|command_error)\b[^&|]*)$/;
    const chains = readFileSync(program, 'utf8')
      .split('\n')
      .filter((line) => !/^ *#/.test(line))
      // Removes quoted text and conditions.
      .map((line) => line.replaceAll(/'[^']*'|"[^"]*"|\[\[ .*? \]\]|\(\(.*?\)\)/g, 'x'))
      .filter((line) => /&&|\|\|/.test(line))
      .filter((line) => !/^ *(?:if|elif|while) |; then$|(?:&&|\|\|)$|^\w+\(\) \{ .* \}$/.test(line))
      .filter((line) => !leaves.test(line));
    expect(chains.map((line) => line.trim())).toEqual([]);
  });

  test('calls main on its last line, so that a truncated copy does nothing', () => {
    expect(readFileSync(program, 'utf8')).toMatch(/\nmain "\$@"\n$/);
  });
});

describeKernel('the log of the node program', undefined, () => {
  test('contains every command that changes the kernel, and is empty if nothing has to be changed', async () => {
    const network = await openNetwork('iptables-nft');
    const logOf = async (...args: string[]) =>
      (await network.execute(args, args[0] === 'apply' ? { stdin: backendVpc() } : {})).stderr
        .split('\n')
        .filter((line) => line.startsWith('peermasq: run: '));
    expect(await logOf('apply')).toEqual(['peermasq: run: iptables-nft-restore --noflush']);
    expect(await logOf('apply')).toEqual([]);
    expect(await logOf('repair')).toEqual([]);
    expect(await logOf('status')).toEqual([]);
    expect(await logOf('remove')).toEqual(['peermasq: run: iptables-nft-restore --noflush']);
    await network.lab.close();
  });
});

describeKernel('the report of the node program', undefined, () => {
  test('contains the start time of process 1 on the node', async () => {
    const network = await openNetwork('auto');
    const { booted = 0 } = await network.apply(backendVpc());
    const { stdout: elapsed } = spawnSync('ps', ['-o', 'etimes=', '-p', '1'], { encoding: 'utf8' });
    expect(Math.abs(Date.now() / 1000 - Number(elapsed) - booted)).toBeLessThan(3);
    await network.lab.close();
  });
});

const everyBackend = missing('iptables-nft') ?? missing('iptables-legacy') ?? missing('nft');

describeKernel('the backend of a node', everyBackend, () => {
  let network: Network;
  beforeAll(async () => {
    network = await openNetwork('auto');
  });
  afterEach(() => clear(network));
  afterAll(() => network.lab.close());

  const chain = (command: string, table: string, name: string) =>
    network.node.run([command, '-t', table, '-N', name]);
  const rule = (command: string, ...match: string[]) =>
    network.node.run([command, '-t', 'nat', '-A', 'POSTROUTING', ...match, '-j', 'RETURN']);

  test.each([
    ['nft', 'iptables-nft', 'KUBE-IPTABLES-HINT'],
    ['legacy', 'iptables-legacy', 'KUBE-IPTABLES-HINT'],
    ['legacy', 'iptables-legacy', 'KUBE-KUBELET-CANARY'],
    ['legacy', 'ip6tables-legacy', 'KUBE-KUBELET-CANARY'],
  ])(
    'is %s if %s has the kubelet chain %s, even if the other backend has rules',
    async (flavour, command, hint) => {
      await chain(command, 'mangle', hint);
      await rule(flavour === 'nft' ? 'iptables-legacy' : 'iptables-nft', '-s', '192.0.2.1');
      expect(await network.apply(backendVpc())).toMatchObject({ code: 0, backend: `iptables-${flavour}` });
    },
  );

  test('is the backend with the most rules if there is no kubelet chain', async () => {
    await rule('iptables-nft', '-s', '192.0.2.1');
    await rule('iptables-legacy', '-s', '192.0.2.1');
    await rule('iptables-legacy', '-s', '192.0.2.2');
    expect(await network.apply(backendVpc())).toMatchObject({ code: 0, backend: 'iptables-legacy' });
  });

  test('is the stored backend if there are no kubelet chains and no rules, as after a boot', async () => {
    await network.apply(backendVpc(), { PEERMASQ_BACKEND: 'iptables-legacy' });
    await network.node.run(['iptables-legacy-restore'], { stdin: '*nat\nCOMMIT\n' });
    expect(await network.peermasq(['repair'])).toMatchObject({
      result: 'applied',
      backend: 'iptables-legacy',
    });
  });

  test('is nft if the node has no iptables', async () => {
    network.hide('xtables-nft-multi', 'xtables-legacy-multi');
    expect(await network.apply(backendVpc())).toMatchObject({ code: 0, proven: true, backend: 'nft' });
    expect(await network.sourceSeen()).toBe('10.209.0.2');
  });

  test('is named in the error if it is not installed, and nothing changes', async () => {
    network.hide('nft');
    const report = await network.apply(backendVpc(), { PEERMASQ_BACKEND: 'nft' });
    expect(report).toMatchObject({ code: 3, result: 'failed', id: null, backend: null });
    expect(report.reason).toBe(
      'PEERMASQ_BACKEND=nft, but it is not installed; installed: iptables-nft iptables-legacy ',
    );
  });

  test('is not found if the node has neither iptables nor nft', async () => {
    network.hide('xtables-nft-multi', 'xtables-legacy-multi', 'nft');
    const report = await network.apply(backendVpc());
    expect(report).toMatchObject({ code: 3, result: 'failed', proven: false });
    expect(report.reason).toContain('neither iptables nor nft');
  });

  test('is nft: our chain runs before the chains of other programs', async () => {
    // The first chain that rewrites the source wins.
    const table =
      'table ip other { chain post { type nat hook postrouting priority 100; ip daddr 10.193.0.0/16 snat to 10.132.0.1; }; }';
    await network.node.run(['nft', table]);
    await network.apply(backendVpc(), { PEERMASQ_BACKEND: 'nft' });
    expect(await network.sourceSeen()).toBe('10.209.0.2');
    const { masqueraders } = await network.peermasq(['status'], { env: { PEERMASQ_BACKEND: 'nft' } });
    expect(masqueraders).toEqual(['nft: ip other post']);
  });
});
