import { expect, test } from '@jest/globals';
import { spawnSync } from 'node:child_process';
import { parseAllDocuments } from 'yaml';

const peermasq = (...args: string[]) =>
  spawnSync(process.execPath, ['dist/cli/peermasq.js', ...args], { encoding: 'utf8' });

test('render daemonset prints manifests for the namespace and image given', () => {
  const { stdout, stderr, status } = peermasq(
    'render',
    'daemonset',
    '--watcher',
    '-n',
    'net',
    '--image',
    'bash:5',
  );
  expect({ stderr, status }).toEqual({ stderr: '', status: 0 });
  expect(parseAllDocuments(stdout).map((document) => document.toJS() as unknown)).toMatchObject([
    { kind: 'ConfigMap', metadata: { namespace: 'net' } },
    {
      kind: 'DaemonSet',
      metadata: { namespace: 'net' },
      spec: {
        template: { spec: { initContainers: [{ image: 'bash:5' }], containers: [{ image: 'bash:5' }] } },
      },
    },
  ]);
});

test.each([
  [['render', 'daemonset', '-n', 'Kube_System'], 'Accepted is a name such as kube-system.'],
  [['render', 'daemonset', '--image', 'a b'], 'Accepted is a reference such as debian:bookworm-slim.'],
  [['render', 'daemonset', '--nmespace', 'x'], "unknown option '--nmespace'"],
  [['rendr'], "unknown command 'rendr'"],
])('%j is refused, with what is accepted', (args, message) => {
  const { stdout, stderr, status } = peermasq(...args);
  expect({ stdout, status }).toEqual({ stdout: '', status: 1 });
  expect(stderr).toContain(message);
  expect(stderr).not.toMatch(/^\s+at /m);
});

test('--help shows an example', () => {
  expect(peermasq('render', 'daemonset', '--help').stdout).toContain(
    'npx peermasq render daemonset --watcher |',
  );
});
