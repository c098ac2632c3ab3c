import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { openCliHome, type CliHome } from '../../lab/cli-home';

let home: CliHome;
beforeAll(() => {
  home = openCliHome();
});
afterAll(() => {
  home.close();
});

test('--help shows examples for every command', async () => {
  const formats = ['iptables', 'daemonset', 'startup-script', 'ip-masq-agent', 'diagram'];
  const commands = [
    ...['validate', 'plan', 'backfill', 'status', 'explain', 'doctor'],
    ...formats.map((format) => `render ${format}`),
  ];
  await Promise.all(
    commands.map(async (command) => {
      const { stdout } = await home.peermasq([...command.split(' '), '--help']);
      expect(stdout).toContain(`  $ npx peermasq ${command}`);
    }),
  );
});

test('completion prints a script for the given shell', async () => {
  const { stdout } = await home.peermasq(['completion', 'zsh']);
  expect(stdout).toContain('peermasq complete --');
});

test('completion suggests commands, and clusters from the config in the current directory', async () => {
  home.write('peermasq.yaml', 'clusters: {shop: {}, stock: {}}');
  expect((await home.peermasq(['complete', '--', 'pl'])).stdout).toMatch(/^plan\t/m);
  expect((await home.peermasq(['complete', '--', 'plan', '--cluster', 's'])).stdout).toMatch(/^shop(\t|\n)/m);
});
