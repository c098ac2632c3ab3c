import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describeKernel } from '../lab/kernel';
import { backendVpc, clear, type Network, openNetwork, ruleset } from './network';

/** IPv6 in all its short forms, and the neighbours of what is refused. */
const allowed = [
  ...['fd00::/8', 'fd00:0:0:1::1/128', '64:ff9b::/96', 'fd00:0:1::/48', 'fd00::1:0:0:1/128', '2001:db8::/33'],
  ...['1.0.0.0/8', '126.0.0.0/8', '192.0.0.0/4', '169.253.0.0/16', '169.255.0.0/16', '223.0.0.0/8'],
];
const exempt = (range: string) => `exempt ${range}`;

const masquerade = (cidr: string, name = 'a') => ruleset(1, `masquerade ${cidr} ${name}`);

/** What is sent, and what the reason must say: the line, what was read, or what is accepted. */
const refused: [string, string | Buffer, string][] = [
  ['nothing at all', '', 'empty'],
  ['another version', 'peermasq/2\ngeneration 1\n', 'line 1: "peermasq/2"'],
  ['no generation', 'peermasq/1\n', 'line 2: missing'],
  ['a generation with a leading zero', ruleset('01'), 'line 2: "generation 01"'],
  ['a generation of 17 digits', ruleset('12345678901234567'), 'line 2'],
  ['a negative generation', ruleset('-1'), 'line 2'],
  ['a generation twice', ruleset(1, 'generation 2'), 'line 3'],
  ['an unknown kind', ruleset(1, 'allow 10.0.0.0/8 a'), 'line 3: "allow 10.0.0.0/8 a"'],
  ['an unknown option', ruleset(1, 'option reboot'), 'accepted are, once each: option random-fully'],
  ['two ways out', ruleset(1, 'option out eth0', 'option out eth1'), 'line 4'],
  ['a way out that is no interface', ruleset(1, 'option out .'), 'line 3'],
  ['a way out that is too long', ruleset(1, 'option out abcdefghijklmnop'), 'line 3'],
  ['a way out with a slash', ruleset(1, 'option out a/b'), 'line 3'],
  [
    'a line twice',
    ruleset(1, 'source 10.1.0.0/16', 'source 10.1.0.0/16'),
    '"source 10.1.0.0/16" is there twice',
  ],
  [
    'kinds out of order',
    ruleset(1, 'masquerade 10.1.0.0/16 a', 'source 10.2.0.0/16'),
    'line 4: "source 10.2.0.0/16" is out of order',
  ],
  ['host bits', masquerade('10.193.0.1/16'), 'line 3: "masquerade 10.193.0.1/16 a" has host bits set'],
  ['host bits in IPv6', masquerade('fd00::1/64'), 'has host bits set'],
  ['an address without a length', masquerade('10.1.2.3'), 'line 3'],
  ['a length over 32', masquerade('10.0.0.0/33'), 'line 3'],
  ['a length over 128', masquerade('fd00::/129'), 'line 3'],
  ['a length with a leading zero', masquerade('10.0.0.0/08'), 'line 3'],
  ['an octet over 255', masquerade('10.256.0.0/16'), 'not a canonical CIDR'],
  ['an octet with a leading zero', masquerade('10.010.0.0/16'), 'not a canonical CIDR'],
  ['an octet that wraps around 64 bits', masquerade('10.18446744073709551617.0.0/16'), 'line 3'],
  ['three octets', masquerade('10.1.0/24'), 'line 3'],
  ['five octets', masquerade('10.1.0.0.0/24'), 'line 3'],
  ['a dot at the end', masquerade('10.1.0.0./24'), 'line 3'],
  ['IPv6 in upper case', masquerade('FD00::/16'), 'line 3'],
  ['IPv6 with leading zeros', masquerade('fd00:0001::/32'), 'line 3'],
  ['IPv6 that is not shortened', masquerade('fd00:0:0:0:0:0:0:0/16'), 'line 3'],
  ['IPv6 with one zero shortened', masquerade('fd00:1::2:3:4:5:6/128'), 'line 3'],
  ['IPv6 shortened at the second run', masquerade('fd00:0:0:1::2:3/128'), 'line 3'],
  ['IPv6 with two gaps', masquerade('fd00::1::/64'), 'line 3'],
  ['IPv6 with nine groups', masquerade('fd00:1:2:3:4:5:6:7:8/128'), 'line 3'],
  ['IPv6 with a zone', masquerade('fe80::1%eth0/128'), 'line 3'],
  ['IPv4 inside IPv6', ruleset(1, 'exempt ::ffff:a00:0/104 a'), 'IPv4 inside IPv6'],
  ['everything', masquerade('0.0.0.0/0'), 'line 3'],
  ['everything in IPv6', masquerade('::/0'), 'line 3'],
  ['half of everything, which holds loopback', masquerade('0.0.0.0/1'), 'overlaps 0.0.0.0/8'],
  ['loopback', masquerade('127.0.0.0/8'), 'overlaps 127.0.0.0/8'],
  ['a part of loopback', masquerade('127.0.0.1/32'), 'overlaps 127.0.0.0/8'],
  ['what holds loopback', masquerade('126.0.0.0/7'), 'overlaps 127.0.0.0/8'],
  ['this network', masquerade('0.1.2.0/24'), 'overlaps 0.0.0.0/8'],
  ['the metadata server', masquerade('169.254.169.254/32'), 'overlaps 169.254.0.0/16'],
  ['what holds link-local', masquerade('169.0.0.0/8'), 'overlaps 169.254.0.0/16'],
  ['multicast', masquerade('239.1.0.0/16'), 'overlaps 224.0.0.0/4'],
  ['the reserved class', masquerade('255.255.255.255/32'), 'overlaps 240.0.0.0/4'],
  ['loopback in IPv6', masquerade('::1/128'), 'line 3'],
  ['link-local in IPv6', masquerade('fe80::/64'), 'overlaps fe80::/10'],
  ['what holds link-local in IPv6', masquerade('fe00::/8'), 'overlaps fe80::/10'],
  ['multicast in IPv6', masquerade('ff02::/16'), 'overlaps ff00::/8'],
  ['half of IPv6', masquerade('::/1'), 'overlaps ::/64'],
  ['a range without a name', ruleset(1, 'masquerade 10.1.0.0/16'), 'line 3'],
  ['a name of 64 characters', masquerade('10.1.0.0/16', 'n'.repeat(64)), 'line 3'],
  ['a source with a name', ruleset(1, 'source 10.1.0.0/16 pods'), 'line 3'],
  [
    'a command in a name',
    masquerade('10.1.0.0/16', '$(reboot)'),
    'line 3: "masquerade 10.1.0.0/16 $(reboot)"',
  ],
  ['a command in backquotes', masquerade('10.1.0.0/16', '`reboot`'), 'line 3'],
  ['a quote in a name', masquerade('10.1.0.0/16', 'a"'), 'line 3: "masquerade 10.1.0.0/16 a""'],
  ['more rule after the name', masquerade('10.1.0.0/16', 'a -j ACCEPT'), 'line 3'],
  ['a backslash in a name', masquerade('10.1.0.0/16', 'a\\n'), 'line 3'],
  ['a glob in a name', masquerade('10.1.0.0/16', '*'), 'line 3'],
  ['a comma in a range', masquerade('10.1.0.0/16,10.2.0.0/16'), 'line 3'],
  ['a tab', ruleset(1, 'masquerade\t10.1.0.0/16\ta'), 'line 3'],
  ['two spaces', ruleset(1, 'masquerade  10.1.0.0/16 a'), 'line 3'],
  ['a space at the end', ruleset(1, 'masquerade 10.1.0.0/16 a '), 'line 3'],
  ['a space at the start', ruleset(1, ' masquerade 10.1.0.0/16 a'), 'line 3'],
  ['an empty line', ruleset(1, '', 'masquerade 10.1.0.0/16 a'), 'line 3'],
  ['a comment', ruleset(1, '# a'), 'line 3'],
  ['CR LF', backendVpc().replaceAll('\n', '\r\n'), 'line 1: "peermasq/1?"'],
  ['letters that are not ASCII', masquerade('10.1.0.0/16', 'café'), 'line 3: "masquerade 10.1.0.0/16 caf??"'],
  ['a byte order mark', `\uFEFF${backendVpc()}`, 'line 1'],
  ['a NUL in a name', masquerade('10.1.0.0/16', 'a\0b'), 'NUL'],
  ['a NUL at the end', `${backendVpc()}\0\n`, 'NUL'],
  ['no LF at the end, as when cut off', backendVpc().slice(0, -1), 'no LF at its end'],
  ['a probe without a port', ruleset(1, 'probe 10.1.0.1'), 'accepted'],
  ['a probe at port 0', ruleset(1, 'probe 10.1.0.1:0'), 'line 3'],
  ['a probe at port 65536', ruleset(1, 'probe 10.1.0.1:65536'), 'line 3'],
  ['a probe of a name', ruleset(1, 'probe example.com:80'), 'line 3'],
  ['a probe of IPv6 without brackets', ruleset(1, 'probe fd00::1:80'), 'line 3'],
  ['a probe of IPv4 in brackets', ruleset(1, 'probe [10.0.0.1]:80'), 'line 3'],
  [
    'too much',
    ruleset(
      1,
      ...Array.from({ length: 60_000 }, (_, i) => `source 10.0.0.0/8 and a tail that makes it long ${i}`),
    ),
    'more than',
  ],
  ['what is not base64', 'H4sI!!!!\n', 'gzip in base64'],
  ['what is not gzip', Buffer.from('\x1f\x8b\x08\x00rubbish', 'latin1').toString('base64'), 'gzip in base64'],
  ['gzip that was cut off', packed(backendVpc()).slice(0, -12), 'gzip in base64'],
  ['gzip of something else', packed('#!/bin/sh\nreboot\n'), 'line 1: "#!/bin/sh"'],
  ['gzip that becomes 100 MB', packed(Buffer.alloc(100_000_000, 'masquerade 10.1.0.0/16 a\n')), 'more than'],
];

describeKernel('a rule set', undefined, () => {
  let network: Network;
  beforeAll(async () => {
    network = await openNetwork('auto');
  });
  afterAll(() => network.lab.close());

  test.each(refused)('is refused with %s', async (_, sent, reason) => {
    const report = await network.apply(sent);
    expect(report).toMatchObject({ code: 2, result: 'refused', proven: false, id: null, generation: null });
    expect(report.reason).toContain(reason);
    expect(JSON.stringify(report).length).toBeLessThan(2000);
  });

  test('that was refused has left no rule', async () => {
    const everyRule = 'nft list ruleset; iptables-legacy-save; ip6tables-legacy-save';
    expect(await network.node.run(['sh', '-ec', everyRule])).toBe('');
  });

  test('is refused with 10,001 destinations', async () => {
    const many = Array.from({ length: 10_001 }, (_, i) => `masquerade 10.${i >> 8}.${i & 255}.0/24 a`);
    const report = await network.apply(ruleset(1, ...many));
    expect(report).toMatchObject({ code: 2, reason: expect.stringContaining('10001 masquerade lines') });
  });

  test('is refused when its file is not there', async () => {
    const report = await network.peermasq(['apply', '--file', '/nowhere']);
    expect(report).toMatchObject({ code: 2, reason: 'cannot read /nowhere' });
  });

  test.each([
    { PEERMASQ_BACKEND: 'ebtables' },
    { PEERMASQ_DIR: 'here' },
    { PEERMASQ_DIR: '/run/../etc' },
    { PEERMASQ_DIR: '/run/a b' },
    { PEERMASQ_WAIT: 'long' },
    { PEERMASQ_INTERVAL: '0' },
  ])('is refused in the environment %j', async (env) => {
    expect(await network.apply(backendVpc(), env)).toMatchObject({ code: 2, result: 'refused' });
  });

  test('is refused where others may write the kept files, which root runs at boot', async () => {
    const folder = join(network.node.folder, 'open');
    await network.node.run(['mkdir', '-m', '777', folder]);
    expect(await network.apply(backendVpc(), { PEERMASQ_DIR: folder })).toMatchObject({
      code: 2,
      result: 'refused',
    });
    expect(existsSync(join(folder, 'ruleset'))).toBe(false);
  });

  test.each([
    ['no command'],
    ['an unknown command', 'destroy'],
    ['an unknown flag', 'apply', '--force'],
    ['a flag without its file', 'apply', '--file'],
  ])('usage goes to stderr for %s', async (_, ...args) => {
    const { code, stdout } = await network.execute(args);
    expect({ code, stdout: args.length > 0 ? stdout : '' }).toEqual({
      code: args.length > 0 ? 2 : 0,
      stdout: '',
    });
  });
});

describeKernel('a rule set that is accepted', undefined, () => {
  let network: Network;
  beforeAll(async () => {
    network = await openNetwork('auto');
  });
  afterEach(() => clear(network));
  afterAll(() => network.lab.close());

  test.each([
    ['plain', backendVpc()],
    ['packed', packed(backendVpc())],
    ['packed, in lines', packed(backendVpc()).replaceAll(/.{20}/g, '$&\n')],
  ])('comes %s, and its id is the same', async (_, sent) => {
    expect(await network.apply(sent)).toMatchObject({ code: 0, result: 'applied', id: idOf(backendVpc()) });
  });

  test.each([
    [
      'the largest of everything',
      ruleset('9999999999999999', 'option out abcdefghijklmno', `masquerade 10.1.0.0/16 ${'n'.repeat(63)}`),
    ],
    [
      'options in either order',
      ruleset(0, 'option out -x', 'option random-fully', 'masquerade 10.1.0.0/16 a'),
    ],
    [
      'ranges of every form, more of them than once, and names of every allowed character',
      ruleset(
        1,
        // What no destination may be.
        ...['169.254.0.0/16 link-local', 'fe80::/10 link-local', '224.0.0.0/4 multicast'].map(exempt),
        ...['10.132.0.0/14 pods', '10.132.0.0/14 except'].map(exempt),
        ...allowed.map((cidr) => `masquerade ${cidr} -AZaz09._:/@-`),
      ),
    ],
  ])('is in force, as meant: %s', async (_, text) => {
    for (const backend of ['iptables-nft', 'iptables-legacy', 'nft']) {
      const report = await network.apply(text, { PEERMASQ_BACKEND: backend });
      expect(report).toMatchObject({ code: 0, proven: true, backend, id: idOf(text) });
    }
  });
});

describeKernel('a report names the rule set that it answers', undefined, () => {
  let network: Network;
  beforeAll(async () => {
    network = await openNetwork('auto');
    await network.apply(inForce);
  });
  afterAll(() => network.lab.close());

  const inForce = backendVpc(5);
  const stale = ruleset(4, 'masquerade 10.7.0.0/16 a');
  const foreign = ruleset(6, 'masquerade 127.0.0.0/8 a');

  test.each<[string, string | Buffer, object]>([
    ['not again, where it is the one in force', inForce, { result: 'unchanged', offered: undefined }],
    ['where it is stale', stale, { result: 'refused', offered: idOf(stale) }],
    ['where it is outside the grammar', foreign, { result: 'refused', offered: idOf(foreign) }],
    ['where it came packed', packed(foreign), { result: 'refused', offered: idOf(foreign) }],
    ['but not where nothing can be unpacked', 'H4sI!!!!\n', { result: 'refused', offered: undefined }],
  ])('%s', async (_, sent, expected) => {
    const { offered, ...report } = await network.apply(sent);
    expect({ offered, ...report }).toMatchObject({ ...expected, id: idOf(inForce), generation: 5 });
  });
});

/** What the functions call the same rule set: the sha256 of all lines but the generation. */
function idOf(text: string): string {
  return createHash('sha256')
    .update(text.replace(/^generation .*\n/m, ''))
    .digest('hex');
}

function packed(text: string | Buffer): string {
  return gzipSync(text).toString('base64');
}
