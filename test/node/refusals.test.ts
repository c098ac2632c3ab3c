import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describeKernel } from '../lab/kernel';
import { backendVpc, clear, type Network, openNetwork, ruleset, testedBackends } from './network';

/** Valid ranges: all short forms of IPv6, and the ranges next to reserved ranges. */
const allowed = [
  ...['fd00::/8', 'fd00:0:0:1::1/128', '64:ff9b::/96', 'fd00:0:1::/48', 'fd00::1:0:0:1/128', '2001:db8::/33'],
  ...['1.0.0.0/8', '126.0.0.0/8', '192.0.0.0/4', '169.253.0.0/16', '169.255.0.0/16', '223.0.0.0/8'],
];
const exempt = (range: string) => `exempt ${range}`;

const overlaps = (range: string) =>
  `overlaps the reserved range ${range}: expected a range that a peer can use`;
const cloudService = 'is the address of a cloud service on the node: expected a range that a peer can use';
const grammar = 'expected option, source CIDR, exempt CIDR NAME, masquerade CIDR NAME or probe ADDRESS:PORT';
const invalidOption = 'invalid option: expected random-fully, steer (from peermasq/2), or out IFNAME once';
const invalidCidr = 'invalid CIDR: expected the canonical form, e.g. 10.193.0.0/16 or fd00:1::/32';
const hostBits = 'host bits set: expected the first address of the range';
const invalidName = 'invalid name: expected [A-Za-z0-9._:/@-]{1,63}';
const invalidProbe = 'invalid probe: expected IPV4:PORT or [IPV6]:PORT';
const outsideProbe = 'not masqueraded: expected an address in a masquerade line and in no exempt line';
const invalidGzip = 'invalid input: looks like base64-encoded gzip, but cannot be unpacked';

const masquerade = (cidr: string, name = 'a') => ruleset(1, `masquerade ${cidr} ${name}`);

/** Each row has a title, the text that is sent, and a text that must occur in the reason. */
const refused: [string, string | Buffer, string][] = [
  ['empty input', '', 'input is empty, or has no line feed at its end (truncated?)'],
  [
    'another version',
    'peermasq/3\ngeneration 1\n',
    'line 1: "peermasq/3": expected peermasq/1 or peermasq/2',
  ],
  ['an option of peermasq/2 in peermasq/1', ruleset(1, 'option steer'), invalidOption],
  ['no generation', 'peermasq/1\n', 'line 2: missing: expected generation DIGITS'],
  ['a generation with a leading zero', ruleset('01'), 'line 2: "generation 01": expected generation DIGITS'],
  ['a generation of 16 digits', ruleset('1234567890123456'), 'expected generation DIGITS'],
  [
    'a generation more than a day ahead of the clock',
    ruleset(Date.now() + 87_000_000),
    'is more than a day ahead of the clock of this node',
  ],
  ['the largest generation', ruleset('999999999999999'), 'is more than a day ahead of the clock'],
  ['a negative generation', ruleset('-1'), 'line 2: "generation -1"'],
  ['a second generation', ruleset(1, 'generation 2'), 'line 3: "generation 2"'],
  ['an unknown kind', ruleset(1, 'allow 10.0.0.0/8 a'), `line 3: "allow 10.0.0.0/8 a": ${grammar}`],
  ['an unknown option', ruleset(1, 'option reboot'), invalidOption],
  ['two output interfaces', ruleset(1, 'option out eth0', 'option out eth1'), invalidOption],
  ['an output interface named "."', ruleset(1, 'option out .'), invalidOption],
  ['an output interface with a long name', ruleset(1, 'option out abcdefghijklmnop'), invalidOption],
  ['an output interface with a slash', ruleset(1, 'option out a/b'), invalidOption],
  [
    'a duplicate line',
    ruleset(1, 'source 10.1.0.0/16', 'source 10.1.0.0/16'),
    'duplicate line "source 10.1.0.0/16"',
  ],
  [
    'kinds out of order',
    ruleset(1, 'masquerade 10.1.0.0/16 a', 'source 10.2.0.0/16'),
    'line 4: "source 10.2.0.0/16": out of order: expected option, source, exempt, masquerade, probe',
  ],
  ['host bits', masquerade('10.193.0.1/16'), `line 3: "masquerade 10.193.0.1/16 a": ${hostBits}`],
  ['IPv6 host bits', masquerade('fd00::1/64'), hostBits],
  ['an address without a length', masquerade('10.1.2.3'), invalidCidr],
  ['a length over 32', masquerade('10.0.0.0/33'), invalidCidr],
  ['a length over 128', masquerade('fd00::/129'), invalidCidr],
  ['a length with a leading zero', masquerade('10.0.0.0/08'), invalidCidr],
  ['an octet over 255', masquerade('10.256.0.0/16'), invalidCidr],
  ['an octet with a leading zero', masquerade('10.010.0.0/16'), invalidCidr],
  ['an octet that overflows 64 bits', masquerade('10.18446744073709551617.0.0/16'), invalidCidr],
  ['three octets', masquerade('10.1.0/24'), invalidCidr],
  ['five octets', masquerade('10.1.0.0.0/24'), invalidCidr],
  ['a trailing dot', masquerade('10.1.0.0./24'), invalidCidr],
  ['IPv6 in upper case', masquerade('FD00::/16'), invalidCidr],
  ['IPv6 with leading zeros', masquerade('fd00:0001::/32'), invalidCidr],
  ['an IPv6 address that is not shortened', masquerade('fd00:0:0:0:0:0:0:0/16'), invalidCidr],
  ['an IPv6 address with a single zero shortened', masquerade('fd00:1::2:3:4:5:6/128'), invalidCidr],
  ['an IPv6 address shortened at its second run of zeros', masquerade('fd00:0:0:1::2:3/128'), invalidCidr],
  ['IPv6 with two gaps', masquerade('fd00::1::/64'), invalidCidr],
  ['IPv6 with nine groups', masquerade('fd00:1:2:3:4:5:6:7:8/128'), invalidCidr],
  ['IPv6 with a zone', masquerade('fe80::1%eth0/128'), invalidCidr],
  ['IPv4 inside IPv6', ruleset(1, 'exempt ::ffff:a00:0/104 a'), 'IPv4 inside IPv6: expected the IPv4 CIDR'],
  ['all addresses', masquerade('0.0.0.0/0'), invalidCidr],
  ['all IPv6 addresses', masquerade('::/0'), invalidCidr],
  ['half of all addresses', masquerade('0.0.0.0/1'), overlaps('0.0.0.0/8')],
  ['loopback', masquerade('127.0.0.0/8'), overlaps('127.0.0.0/8')],
  ['a part of loopback', masquerade('127.0.0.1/32'), overlaps('127.0.0.0/8')],
  ['a range that contains loopback addresses', masquerade('126.0.0.0/7'), overlaps('127.0.0.0/8')],
  ['this network', masquerade('0.1.2.0/24'), overlaps('0.0.0.0/8')],
  ['the metadata server', masquerade('169.254.169.254/32'), overlaps('169.254.0.0/16')],
  ['a range that contains link-local addresses', masquerade('169.0.0.0/8'), overlaps('169.254.0.0/16')],
  ['multicast', masquerade('239.1.0.0/16'), overlaps('224.0.0.0/4')],
  ['broadcast', masquerade('255.255.255.255/32'), overlaps('240.0.0.0/4')],
  ['IPv6 loopback', masquerade('::1/128'), 'IPv4 inside IPv6: expected the IPv4 CIDR'],
  ['IPv6 link-local', masquerade('fe80::/64'), overlaps('fe80::/10')],
  ['a range that contains IPv6 link-local addresses', masquerade('fe00::/8'), overlaps('fe80::/10')],
  ['IPv6 multicast', masquerade('ff02::/16'), overlaps('ff00::/8')],
  ['half of all IPv6 addresses', masquerade('::/1'), overlaps('::/64')],
  ['an IPv6 metadata server', masquerade('fd00:ec2::254/128'), cloudService],
  ['the IPv6 metadata server of Google Cloud', masquerade('fd20:ce::254/128'), cloudService],
  ['the agent for EKS Pod Identity', masquerade('fd00:ec2::23/128'), cloudService],
  ['a range without a name', ruleset(1, 'masquerade 10.1.0.0/16'), grammar],
  ['a name of 64 characters', masquerade('10.1.0.0/16', 'n'.repeat(64)), invalidName],
  ['a source with a name', ruleset(1, 'source 10.1.0.0/16 pods'), grammar],
  [
    'a command in a name',
    masquerade('10.1.0.0/16', '$(reboot)'),
    'line 3: "masquerade 10.1.0.0/16 $(reboot)"',
  ],
  ['a command in backquotes', masquerade('10.1.0.0/16', '`reboot`'), invalidName],
  [
    'a quote in a name',
    masquerade('10.1.0.0/16', 'a"'),
    `line 3: "masquerade 10.1.0.0/16 a"": ${invalidName}`,
  ],
  ['further rule text after the name', masquerade('10.1.0.0/16', 'a -j ACCEPT'), grammar],
  ['a backslash in a name', masquerade('10.1.0.0/16', 'a\\n'), invalidName],
  ['a glob in a name', masquerade('10.1.0.0/16', '*'), invalidName],
  ['a comma in a range', masquerade('10.1.0.0/16,10.2.0.0/16'), invalidCidr],
  ['a tab', ruleset(1, 'masquerade\t10.1.0.0/16\ta'), grammar],
  ['two spaces', ruleset(1, 'masquerade  10.1.0.0/16 a'), grammar],
  ['a space at the end of a line', ruleset(1, 'masquerade 10.1.0.0/16 a '), grammar],
  ['a space at the start of a line', ruleset(1, ' masquerade 10.1.0.0/16 a'), grammar],
  ['an empty line', ruleset(1, '', 'masquerade 10.1.0.0/16 a'), grammar],
  ['a comment', ruleset(1, '# a'), grammar],
  ['CR LF', backendVpc().replaceAll('\n', '\r\n'), 'line 1: "peermasq/1?"'],
  ['non-ASCII letters', masquerade('10.1.0.0/16', 'café'), 'line 3: "masquerade 10.1.0.0/16 caf??"'],
  ['a byte order mark', `\uFEFF${backendVpc()}`, 'line 1'],
  ['a NUL in a name', masquerade('10.1.0.0/16', 'a\0b'), 'input with NUL bytes: expected ASCII text'],
  ['a trailing NUL', `${backendVpc()}\0\n`, 'input with NUL bytes: expected ASCII text'],
  [
    'no line feed at the end, as after truncation',
    backendVpc().slice(0, -1),
    'has no line feed at its end (truncated?)',
  ],
  ['a probe without a port', ruleset(1, 'probe 10.1.0.1'), invalidProbe],
  ['a probe at port 0', ruleset(1, 'probe 10.1.0.1:0'), invalidProbe],
  ['a probe at port 65536', ruleset(1, 'probe 10.1.0.1:65536'), invalidProbe],
  ['a probe with a host name', ruleset(1, 'probe example.com:80'), invalidProbe],
  ['a probe with an IPv6 address without brackets', ruleset(1, 'probe fd00::1:80'), invalidProbe],
  ['a probe with an IPv4 address in brackets', ruleset(1, 'probe [10.0.0.1]:80'), invalidProbe],
  [
    'a probe of the loopback address',
    ruleset(1, 'masquerade 10.1.0.0/16 a', 'probe 127.0.0.1:10250'),
    outsideProbe,
  ],
  [
    'a probe of the IPv6 loopback address',
    ruleset(1, 'masquerade fd01::/48 a', 'probe [::1]:10250'),
    outsideProbe,
  ],
  ['a probe of the metadata server', ruleset(1, 'probe 169.254.169.254:80'), outsideProbe],
  [
    'a probe of an IPv6 metadata server',
    ruleset(1, 'masquerade fd00::/8 a', 'probe [fd00:ec2::254]:80'),
    outsideProbe,
  ],
  [
    'a probe outside the destinations after a probe inside them',
    ruleset(1, 'masquerade 10.1.0.0/16 a', 'probe 10.1.0.1:80', 'probe 10.2.0.1:80'),
    `line 5: "probe 10.2.0.1:80": ${outsideProbe}`,
  ],
  [
    'a probe of an exempt address',
    ruleset(1, 'exempt 10.1.7.0/24 b', 'masquerade 10.1.0.0/16 a', 'probe 10.1.7.1:80'),
    `line 5: "probe 10.1.7.1:80": ${outsideProbe}`,
  ],
  [
    'a rule set that is too large',
    ruleset(
      1,
      ...Array.from({ length: 60_000 }, (_, i) => `source 10.0.0.0/8 and a tail that makes it long ${i}`),
    ),
    'input larger than 2097152 bytes',
  ],
  ['invalid base64', 'H4sI!!!!\n', invalidGzip],
  ['invalid gzip', Buffer.from('\x1f\x8b\x08\x00rubbish', 'latin1').toString('base64'), invalidGzip],
  ['truncated gzip', packed(backendVpc()).slice(0, -12), invalidGzip],
  ['a compressed shell script', packed('#!/bin/sh\nreboot\n'), 'line 1: "#!/bin/sh"'],
  [
    'compressed input that expands to 100 MB',
    packed(Buffer.alloc(100_000_000, 'masquerade 10.1.0.0/16 a\n')),
    'input larger than 2097152 bytes',
  ],
];

describeKernel('the node program', undefined, () => {
  let network: Network;
  beforeAll(async () => {
    network = await openNetwork('auto');
  });
  afterAll(() => network.lab.close());

  test.each(refused)('refuses a rule set with %s', async (_, sent, reason) => {
    const report = await network.apply(sent);
    expect(report).toMatchObject({ code: 2, result: 'refused', proven: false, id: null, generation: null });
    expect(report.reason).toContain(reason);
    expect(JSON.stringify(report).length).toBeLessThan(2000);
  });

  test('leaves no rules behind when it refuses a rule set', async () => {
    const everyRule = 'nft list ruleset; iptables-legacy-save; ip6tables-legacy-save';
    expect(await network.node.run(['sh', '-ec', everyRule])).toBe('');
  });

  test('refuses a rule set with 10,001 destinations', async () => {
    const many = Array.from({ length: 10_001 }, (_, i) => `masquerade 10.${i >> 8}.${i & 255}.0/24 a`);
    const report = await network.apply(ruleset(1, ...many));
    expect(report).toMatchObject({
      code: 2,
      reason: expect.stringContaining('10001 masquerade lines: expected at most 10000'),
    });
  });

  test('refuses a rule set whose file does not exist', async () => {
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
  ])('refuses a rule set with the environment variable %j', async (env) => {
    expect(await network.apply(backendVpc(), env)).toMatchObject({ code: 2, result: 'refused' });
  });

  test('refuses to run if other users can write to the stored files, which root runs at boot', async () => {
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
  ])('prints the usage to stderr for %s', async (_, ...args) => {
    const { code, stdout } = await network.execute(args);
    expect({ code, stdout: args.length > 0 ? stdout : '' }).toEqual({
      code: args.length > 0 ? 2 : 0,
      stdout: '',
    });
  });
});

describeKernel('an accepted rule set', undefined, () => {
  let network: Network;
  beforeAll(async () => {
    network = await openNetwork('auto');
  });
  afterEach(() => clear(network));
  afterAll(() => network.lab.close());

  test.each([
    ['as plain text', backendVpc()],
    ['compressed', packed(backendVpc())],
    ['compressed, in wrapped lines', packed(backendVpc()).replaceAll(/.{20}/g, '$&\n')],
  ])('has the same ID when it is sent %s', async (_, sent) => {
    expect(await network.apply(sent)).toMatchObject({ code: 0, result: 'applied', id: idOf(backendVpc()) });
  });

  test.each([
    [
      'the largest values',
      ruleset(
        Date.now() + 80_000_000,
        'option out abcdefghijklmno',
        `masquerade 10.1.0.0/16 ${'n'.repeat(63)}`,
      ),
    ],
    [
      'options in either order',
      ruleset(0, 'option out -x', 'option random-fully', 'masquerade 10.1.0.0/16 a'),
    ],
    [
      'ranges in every form, some repeated, and names with all allowed characters',
      ruleset(
        1,
        // Exemptions may contain reserved ranges.
        ...['169.254.0.0/16 link-local', 'fe80::/10 link-local', '224.0.0.0/4 multicast'].map(exempt),
        ...['10.132.0.0/14 pods', '10.132.0.0/14 except'].map(exempt),
        ...allowed.map((cidr) => `masquerade ${cidr} -AZaz09._:/@-`),
      ),
    ],
  ])('is applied: %s', async (_, text) => {
    for (const backend of testedBackends) {
      const report = await network.apply(text, { PEERMASQ_BACKEND: backend });
      // The rules are not proven if they name an interface that the node does not have.
      const proven = !text.includes('option out');
      expect(report).toMatchObject({ code: 0, proven, backend, id: idOf(text) });
    }
  });
});

describeKernel('the report has the ID of the rule set that was sent', undefined, () => {
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
    ['except if the same rule set is in force', inForce, { result: 'unchanged', offered: undefined }],
    ['if the sent rule set is stale', stale, { result: 'refused', offered: idOf(stale) }],
    ['if the sent rule set is invalid', foreign, { result: 'refused', offered: idOf(foreign) }],
    ['if the sent rule set was compressed', packed(foreign), { result: 'refused', offered: idOf(foreign) }],
    [
      'except if the sent rule set cannot be unpacked',
      'H4sI!!!!\n',
      { result: 'refused', offered: undefined },
    ],
  ])('%s', async (_, sent, expected) => {
    const { offered, ...report } = await network.apply(sent);
    expect({ offered, ...report }).toMatchObject({ ...expected, id: idOf(inForce), generation: 5 });
  });
});

/** Returns the ID that the functions give the rule set: the sha256 of all lines except the generation. */
function idOf(text: string): string {
  return createHash('sha256')
    .update(text.replace(/^generation .*\n/m, ''))
    .digest('hex');
}

function packed(text: string | Buffer): string {
  return gzipSync(text).toString('base64');
}
