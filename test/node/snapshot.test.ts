import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseSnapshot } from '../../shared/core/explain/parse/snapshot';
import { joinParts, parsePart } from '../../shared/core/model/snapshot-parts';
import { describeKernel } from '../lab/kernel';
import { backendVpc, clear, missing, openNetwork, ruleset, type Network } from './network';

const everyBackend = missing('iptables-nft') ?? missing('iptables-legacy') ?? missing('nft');

describeKernel('the snapshot of a node', everyBackend, () => {
  let network: Network;
  beforeAll(async () => {
    network = await openNetwork('auto');
  });
  afterEach(() => clear(network));
  afterAll(() => network.lab.close());

  const snapshot = (...args: string[]) => network.execute(['snapshot', ...args]);
  const sections = async () => {
    const { code, stdout } = await snapshot();
    expect(code).toBe(0);
    expect(() => parseSnapshot(stdout)).not.toThrow();
    const [before, ...parts] = stdout.split(/^# peermasq: /m);
    expect(before).toBe('');
    return new Map(
      parts.map((part) => [part.slice(0, part.indexOf('\n')), part.slice(part.indexOf('\n') + 1)]),
    );
  };
  const network4and6 = [
    'ip addr',
    'ip -4 route show table all',
    'ip -4 rule',
    'ip -6 route show table all',
    'ip -6 rule',
    'sysctl',
    'versions',
    'ebpf',
  ];
  const stored = ['ruleset', 'report'];

  test('shows the sets that are used by rules', async () => {
    const many = Array.from({ length: 40 }, (_, i) => `masquerade 10.193.${i}.0/24 n${i}`);
    await network.apply(ruleset(1, ...many));
    const found = await sections();
    expect(found.get('ipset save')?.match(/^add peermasq-4-/gm)).toHaveLength(40);
  });

  test('ends with the stored rule set and the stored report, as comments', async () => {
    await network.apply(backendVpc(7));
    const found = await sections();
    expect(found.get('ruleset')).toBe(backendVpc(7).replaceAll(/^(?=.)/gm, '#   '));
    const [, report = ''] = /^# {3}(\{.*\})\n$/.exec(found.get('report') ?? '') ?? [];
    expect(JSON.parse(report)).toMatchObject({ result: 'applied', generation: 7 });
  });

  test('changes nothing on the node', async () => {
    const everything = async () => [
      await network.node.run(['sh', '-c', 'iptables-nft-save | grep -v ^#; ipset list; nft list ruleset']),
      await network.node.run(['cat', '/proc/net/ip_tables_names', '/proc/net/ip6_tables_names']),
      await network.node.run(['sh', '-c', 'cut -d " " -f 1 /proc/modules || echo none']),
    ];
    const before = await everything();
    expect(await snapshot()).toMatchObject({ code: 0 });
    expect(await snapshot('--part', '0')).toMatchObject({ code: 0 });
    expect(await everything()).toEqual(before);
    expect(existsSync(join(network.node.folder, 'kept'))).toBe(false);
  });

  test('is printed in parts that all belong to the same snapshot', async () => {
    const noise = () => Math.random().toString(36).slice(2).padEnd(12, 'x');
    const rules = Array.from(
      { length: 2_000 },
      (_, i) => `-A OTHERS -d 10.${i >> 8}.${i & 255}.0/24 -m comment --comment ${noise()} -j RETURN`,
    );
    const stdin = ['*nat', ':OTHERS - [0:0]', ...rules, 'COMMIT', ''].join('\n');
    await network.node.run(['iptables-nft-restore', '--noflush'], { stdin });
    const part = async (number: number) => parsePart((await snapshot('--part', String(number))).stdout);
    const parts = [await part(0)];
    await network.node.run(['iptables-nft', '-t', 'nat', '-F', 'OTHERS']);
    while (parts.length < (parts[0]?.count ?? 0)) parts.push(await part(parts.length));
    expect(parts.length).toBeGreaterThan(1);
    const text = joinParts(parts.flatMap((one) => one ?? []));
    expect(text.match(/^-A OTHERS .*$/gm)?.map((rule) => rule.replaceAll('"', ''))).toEqual(rules);
    expect((await network.peermasq(['remove'])).result).toBe('removed');
    expect(existsSync(join(network.node.folder, 'kept'))).toBe(false);
  });

  test('shows the rules of nft on one line if iptables is not installed', async () => {
    network.hide('xtables-nft-multi', 'xtables-legacy-multi');
    await network.apply(backendVpc());
    const found = await sections();
    expect([...found.keys()]).toEqual([
      'iptables-legacy-save',
      'ip6tables-legacy-save',
      'nft -j list ruleset',
      ...network4and6,
      ...stored,
    ]);
    const text = found.get('nft -j list ruleset') ?? '';
    expect(text.trim().split('\n')).toHaveLength(1);
    expect(JSON.parse(text)).toMatchObject({ nftables: expect.any(Array) });
    expect(text).toContain('peermasq: backend-vpc');
  });

  test('shows chains that nft added to a table of iptables', async () => {
    await network.apply(backendVpc(), { PEERMASQ_BACKEND: 'iptables-nft' });
    const chain = 'table ip nat { chain foreign { type nat hook postrouting priority 101; masquerade; }; }';
    await network.node.run(['nft', chain]);
    const { stdout } = await snapshot();
    // iptables-nft-save 1.8.7 fails.
    expect(stdout).toMatch(
      /^(# Table `nat' contains incompatible base-chains|# peermasq: iptables-nft-save failed)/m,
    );
    const baseChains = parseSnapshot(stdout).baseChains.filter(({ hook }) => hook === 'postrouting');
    expect(
      baseChains.map(({ table, chain: { name } }) => `${table.name.replace('ip ', '')} ${name}`),
    ).toEqual(expect.arrayContaining(['nat POSTROUTING', 'nat foreign']));
    expect(baseChains.filter(({ unreadable }) => unreadable !== undefined)).toEqual([]);
  });

  test('shows the tables of nft and of iptables, each table only once', async () => {
    await network.apply(backendVpc(), { PEERMASQ_BACKEND: 'iptables-nft' });
    const rules =
      'table ip kube-proxy { chain nat { type nat hook postrouting priority 100; masquerade; }; }';
    await network.node.run(['nft', rules]);
    const found = await sections();
    expect([...found.keys()]).toContain('nft -j list ruleset');
    const { stdout } = await snapshot();
    const tables = parseSnapshot(stdout).baseChains.map(({ table }) => `${table.backend} ${table.name}`);
    expect(new Set(tables.filter((name) => / nat$|kube-proxy$/.test(name)))).toEqual(
      new Set(['iptables-nft nat', 'nft ip kube-proxy']),
    );
    expect(parsePart((await snapshot('--part', '0')).stdout)?.count).toBe(1);
  });

  /** Takes a snapshot where ip6tables-nft-save fails. */
  const snapshotWithFailure = () => {
    const brokenCommand = join(network.node.folder, 'ip6tables-nft-save');
    writeFileSync(brokenCommand, '#!/bin/sh\necho no such thing >&2\nexit 4\n', { mode: 0o755 });
    return network.execute(['snapshot'], {
      env: { PATH: `${network.node.folder}:${process.env['PATH'] ?? ''}` },
    });
  };

  test('shows the output of nft where iptables-nft-save fails', async () => {
    const { stdout } = await snapshotWithFailure();
    expect(stdout).toContain('# peermasq: ip6tables-nft-save failed\n');
    expect(stdout).toContain('# peermasq: nft -j list ruleset\n');
    expect(parseSnapshot(stdout).baseChains.filter(({ unreadable }) => unreadable !== undefined)).toEqual([]);
  });

  test('shows which command failed, so that readers know that rules are missing', async () => {
    network.hide('nft');
    const { code, stdout, stderr } = await snapshotWithFailure();
    expect([code, stderr]).toEqual([0, expect.stringContaining('no such thing')]);
    expect(stdout).toContain('# peermasq: ip6tables-nft-save failed\n');
    const unreadable = parseSnapshot(stdout).baseChains.filter((base) => base.unreadable !== undefined);
    expect(
      new Set(unreadable.map(({ table }) => `${table.backend} ${table.families.join()} ${table.name}`)),
    ).toEqual(new Set(['iptables-nft 6 nat']));
  });

  test('is not printed to stdout, not even in part, when the command fails or refuses', async () => {
    const refused = async (args: string[], code: number, reason: string) => {
      expect(await snapshot(...args)).toMatchObject({
        code,
        stdout: '',
        stderr: expect.stringContaining(reason),
      });
    };
    await refused(['--part', '1'], 3, 'no snapshot is stored; part 0 takes one');
    await refused(['--part', '-1'], 2, 'invalid --part: expected a number of at most three digits');
    await refused(['--part', '1;reboot'], 2, 'invalid --part: expected a number of at most three digits');
    await refused(['--parts'], 2, 'Usage:');
    network.hide('xtables-nft-multi', 'xtables-legacy-multi', 'nft');
    await refused([], 3, 'neither iptables nor nft is installed');
  });

  // This test comes last, because tables of iptables-legacy remain in the kernel.
  test.each([
    ['iptables-nft', '-A PEERMASQ -s 10.132.0.0/14 -d 10.193.0.0/16 '],
    ['iptables-legacy', '-A PEERMASQ -s 10.132.0.0/14 -d 10.193.0.0/16 '],
  ])('shows the rules of %s below the name of the command that prints them', async (backend, rule) => {
    await network.apply(backendVpc(), { PEERMASQ_BACKEND: backend });
    const found = await sections();
    const saved = ['iptables', 'ip6tables'].flatMap((name) => [`${name}-nft-save`, `${name}-legacy-save`]);
    expect([...found.keys()]).toEqual([...saved, 'nft list tables', ...network4and6, ...stored]);
    expect(found.get(`${backend}-save`)).toContain(rule);
    expect(found.get('ip addr')).toContain('inet 10.209.0.2/24');
    expect(found.get('ip -4 route show table all')).toContain('default via 10.209.0.1 dev eth0');
    expect(found.get('ip -6 route show table all')).toContain('default via fd00:209::1 dev eth0');
  });
});
