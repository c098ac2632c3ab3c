import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { chmodSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { openCliHome, type CliHome } from '../../lab/cli-home';

const output = `# peermasq: iptables-nft-save
*nat
:POSTROUTING ACCEPT [0:0]
-A POSTROUTING ! -d 10.0.0.0/8 -j MASQUERADE
COMMIT
# peermasq: iptables-legacy-save
# peermasq: ip addr
2: eth0: <UP> mtu 1500 qdisc mq state UP
    inet 10.209.0.2/16 scope global eth0
# peermasq: ip -4 route show table all
default via 10.209.0.1 dev eth0
`;
const question = ['explain', '--from', '10.132.0.10', '--to', '203.0.113.9:443', '-o', 'json'];

let home: CliHome;
beforeAll(() => {
  home = openCliHome();
  mkdirSync(join(home.folder, 'bin'));
  home.write('output.txt', output);
});
afterAll(() => {
  home.close();
});

/** Installs a program that records its arguments, one on a line, and its input, and then runs a script. */
function install(name: string, script: string): void {
  const record = `printf '%s\\n' "$@" >>"$HOME/${name}.args"; cat >"$HOME/${name}.stdin"`;
  chmodSync(home.write(`bin/${name}`, `#!/bin/sh\n${record}\n${script}\n`), 0o755);
}

const run = (args: readonly string[]) =>
  home.peermasq(args, { env: { PATH: `${join(home.folder, 'bin')}:${process.env['PATH'] ?? ''}` } });
const read = (name: string) => readFileSync(join(home.folder, name), 'utf8');

describe('collect', () => {
  test('prints a script', async () => {
    const { status, stdout } = await run(['collect']);
    expect(status).toBe(0);
    expect(stdout).toMatch(/^#!\/bin\/sh\n/);
    expect(stdout).toMatch(/\ncollect_node '' <\/dev\/null\n$/);
  });

  test('prints a script with the address of a pod, in its canonical form', async () => {
    const { stdout } = await run(['collect', '--from', 'fd00:0132::a']);
    expect(stdout).toContain("\ncollect_node 'fd00:132::a' </dev/null\n");
  });

  test.each(["10.0.0.1'; reboot; '", '$(reboot)', '10.0.0.0/8', 'shop/web-0'])(
    'refuses %s as the address of a pod',
    async (from) => {
      const { status, stdout, stderr } = await run(['collect', '--from', from]);
      expect([status, stdout]).toEqual([1, '']);
      expect(stderr).toContain('Expected the address of a pod');
    },
  );
});

describe('explain --ssh', () => {
  test("runs the script on the host with the user's ssh", async () => {
    install('ssh', 'cat "$HOME/output.txt"');
    const { stdout } = await run([...question, '--ssh', 'admin@node-1']);
    expect(JSON.parse(stdout)).toMatchObject({ source: '10.209.0.2' });
    expect(read('ssh.args').split('\n').slice(0, 3)).toEqual(['-T', '--', 'admin@node-1']);
    expect(read('ssh.stdin')).toContain("collect_node '10.132.0.10'");
  });

  test.each(['-oProxyCommand=reboot', 'node-1; reboot', '$(reboot)', ''])(
    'refuses %j as the name of a host, and does not start ssh',
    async (host) => {
      install('ssh', 'touch "$HOME/started"');
      const { status, stderr } = await run([...question, `--ssh=${host}`]);
      expect(status).toBe(1);
      expect(stderr).toContain('invalid --ssh');
      expect(existsSync(join(home.folder, 'started'))).toBe(false);
    },
  );

  test('reports why ssh failed, and how to do without it', async () => {
    install('ssh', 'echo "sudo: a password is required" >&2; exit 1');
    const { status, stderr } = await run([...question, '--ssh', 'node-1']);
    expect(status).toBe(1);
    expect(stderr).toContain('Cannot collect the rules with ssh: sudo: a password is required');
    expect(stderr).toContain('npx peermasq collect');
  });
});

describe('explain --kubectl-debug', () => {
  test('runs the script in a debug pod on the node, and deletes the pod', async () => {
    const created =
      'Creating debugging pod node-debugger-node-1-x7k2p with container debugger on node node-1.';
    install('kubectl', `[ "$1" = delete ] || { echo "${created}"; cat "$HOME/output.txt"; }`);
    const { stdout } = await run([...question, '--kubectl-debug', 'node-1']);
    expect(JSON.parse(stdout)).toMatchObject({ source: '10.209.0.2' });
    const words = read('kubectl.args').trim().split('\n');
    expect(words.slice(0, 3)).toEqual(['debug', 'node/node-1', '-i']);
    expect(words.slice(-4)).toEqual(['delete', 'pod', 'node-debugger-node-1-x7k2p', '--wait=false']);
  });

  test('reports if the pod printed nothing', async () => {
    install('kubectl', 'true');
    const { status, stderr } = await run([...question, '--kubectl-debug', 'node-1']);
    expect(status).toBe(1);
    expect(stderr).toContain('kubectl printed nothing that the script prints');
  });
});

test('only one source of rules is accepted', async () => {
  const { status, stderr } = await run([...question, '--ssh', 'node-1', '--rules', '-']);
  expect(status).toBe(1);
  expect(stderr).toContain('--rules, --ssh and --kubectl-debug exclude each other');
});
