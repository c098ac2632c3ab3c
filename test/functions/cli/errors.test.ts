import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { spawnSync } from 'node:child_process';
import { openCliHome, type CliHome } from '../../lab/cli-home';

let home: CliHome;
beforeAll(() => {
  home = openCliHome();
  home.write('peermasq.yaml', 'clusters: {shop: {masquerade: [peerings]}}');
});
afterAll(() => {
  home.close();
});

const iptablesSave = '*nat\n:POSTROUTING ACCEPT [0:0]\nCOMMIT\n';
const explain = (from: string, to: string, rules: string) => [
  'explain',
  ...['--from', from, '--to', to, '--rules', rules],
];

const awsCredentials = { AWS_PROFILE: 'none', AWS_REGION: 'us-east-1', AWS_CONFIG_FILE: '/dev/null' };

test.each([
  [explain('10.132.0.10', '10.193.0.3:80', '-'), 'not a dump\n', 'Line 1 of the dump'],
  [explain('10.132.0.10', '10.193.0.3:80', 'missing.txt'), '', 'Cannot read missing.txt'],
  [explain('10.132.0.10', '10.193.0.3', '-'), iptablesSave, '"10.193.0.3" is not HOST:PORT'],
  [
    explain('gke-1', '10.0.0.1:1', '-'),
    iptablesSave,
    '--from must be an address or a pod; "gke-1" is neither',
  ],
  [
    explain('shop/web', '10.0.0.1:1', '-'),
    iptablesSave,
    'Cannot look up pod shop/web: kubectl is not installed',
  ],
  [['doctor', '--to', '10.0.0.1:1'], '', "required option '--from <pod|node>' not specified"],
  [['plan', '--cloud', 'azure'], '', 'Allowed choices are aws, gcp'],
  [['plan', '--config', 'missing.yaml'], '', 'Cannot read missing.yaml'],
  [['plan', '--cluster', 'shopp'], '', 'Cluster "shopp" is not in the config\nUse one of: shop.'],
  [['plan'], '', 'No cloud credentials found\nRun `aws configure sso`'],
  [['backfill', '--rollback'], '', 'No backfill was run on this machine'],
  [['backfill', '--canary', '-1'], '', 'Expected a whole number of at least 0.'],
  [
    ['render', 'iptables', '--rule-set', '-'],
    'peermasq/3\n',
    'Not a rule set in format peermasq/1 or peermasq/2',
  ],
  [['render', 'daemonset', '-n', 'Kube_System'], '', 'Expected a name such as kube-system.'],
  [['render', 'daemonset', '--image', 'a b'], '', 'Expected a reference such as debian:bookworm-slim.'],
  [['plam'], '', "unknown command 'plam'"],
])(
  'the command line %j prints a message without a stack trace and exits with 1',
  async (args, stdin, message) => {
    const env: Record<string, string> = args[1] === '--cluster' ? awsCredentials : {};
    const { status, stdout, stderr } = await home.peermasq(args, {
      stdin,
      // A PATH without kubectl.
      env: { ...env, PATH: '/nonexistent' },
    });
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
    expect(stderr).toContain(message);
    expect(stderr).not.toMatch(/^\s+at /m);
  },
);

test('with -o json, errors are also printed as JSON', async () => {
  const { status, stdout } = await home.peermasq(['plan', '--config', 'missing.yaml', '-o', 'json']);
  expect(status).toBe(1);
  expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'unreadable-file' } });
  const rejected = await home.peermasq(['backfill', '--canary', 'abc', '--output=json']);
  expect(rejected.status).toBe(1);
  expect(JSON.parse(rejected.stdout)).toMatchObject({ error: { code: 'bad-option' } });
});

test('a command fails if its output cannot be written', () => {
  const cli = `${process.execPath} dist/cli/peermasq.mjs validate peermasq.yaml`;
  const { status, stderr } = spawnSync('sh', ['-c', `${cli} > /dev/full`], { encoding: 'utf8' });
  expect(status).toBe(1);
  expect(stderr).toContain('Cannot write the output: ');
});

test.each([[['--debug', 'plan']], [['plan', '--debug']]])(
  'the command line %j prints the stack trace',
  async (args) => {
    expect((await home.peermasq(args)).stderr).toMatch(/^\s+at /m);
  },
);
