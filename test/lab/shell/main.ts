import { spawn } from 'node:child_process';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { shellQuote } from '../../../shared/core/util/shell';
import { requestCommand } from '../networks';
import { misconfigurations, openCloud, type CloudName, type ShellCloud } from './clouds';

const list = (names: readonly string[]) => names.map((name) => `"${name}"`).join(', ');

const usage = `Usage: npm run lab [-- [--cloud aws|gcp] [--break WHAT]]

Opens a shell with a local cloud: a node without peermasq rules, a peer, and a pod on the node whose
requests to the peer hang. In the shell, npx peermasq uses this cloud. Commands can also be piped to stdin.
Everything runs in network namespaces and is removed when the shell ends.

  --cloud  the cloud to open (default: aws)
  --break  an additional problem between the node and the peer
           aws: ${list(misconfigurations.aws)}
           gcp: ${list(misconfigurations.gcp)}
  --help   this text
`;

interface Options {
  readonly cloud: CloudName;
  readonly broken: string | undefined;
  readonly help: boolean;
}

async function main(): Promise<number> {
  const options = readOptions();
  if ('error' in options) {
    process.stderr.write(`${options.error}\n\n${usage}`);
    return 2;
  }
  if (options.help) {
    process.stdout.write(usage);
    return 0;
  }
  const cloud = await openCloud(options.cloud, options.broken);
  try {
    if (process.stdin.isTTY) process.stderr.write(welcome(cloud));
    return await shell(cloud);
  } finally {
    await cloud.close();
  }
}

function readOptions(): Options | { error: string } {
  try {
    const { cloud, help, ...rest } = parseArgs({
      options: {
        cloud: { type: 'string', default: 'aws' },
        break: { type: 'string' },
        help: { type: 'boolean', default: false },
      },
    }).values;
    const broken = rest.break;
    if (cloud !== 'aws' && cloud !== 'gcp') return { error: `unknown cloud ${JSON.stringify(cloud)}` };
    if (broken !== undefined && !misconfigurations[cloud].includes(broken))
      return { error: `invalid value ${JSON.stringify(broken)} for --break on ${cloud}` };
    return { cloud, broken, help };
  } catch (error) {
    return { error: (error as Error).message };
  }
}

function welcome({ node, networks }: ShellCloud): string {
  const { pods } = networks.topology.node;
  const { name, address, port } = networks.topology.peer;
  return `
Pod ${pods.pod} on node ${node} sends requests to ${name} (${address}:${port}). Try:

  request                  # sends one request from the pod
  npx peermasq doctor --from ${pods.pod} --node ${node} --to ${address}:${port}
  npx peermasq plan
  npx peermasq backfill
  on-node iptables-save    # runs a program on the node; in-pod runs one in the pod
  exit
`;
}

/**
 * Opens a shell with the lab's home folder and commands. The shell starts in the repository root, where `npx peermasq`
 * works.
 */
function shell({ home, env, nodeEnv, networks }: ShellCloud): Promise<number> {
  const { nodeHost, podHost, topology } = networks;
  const bin = join(home.folder, 'bin');
  mkdirSync(bin);
  const command = (name: string, argv: readonly string[], rest = '') => {
    writeFileSync(join(bin, name), `#!/bin/sh\nexec ${argv.map(shellQuote).join(' ')}${rest}\n`);
    chmodSync(join(bin, name), 0o755);
  };
  const settings = Object.entries(nodeEnv).map(([name, value]) => `${name}=${value}`);
  command('on-node', nodeHost.argvInside(['env', ...settings]), ' "$@"');
  command('in-pod', podHost.argvInside([]), ' "$@"');
  command('request', podHost.argvInside(requestCommand(topology.peer, 'by-hand', 2_000)));
  const all = { ...home.env, ...env, PATH: `${bin}:${home.env['PATH'] ?? ''}`, TERM: process.env['TERM'] };
  const child = spawn('bash', ['--norc'], { stdio: 'inherit', env: { ...all, PS1: 'lab$ ' } });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (status) => {
      resolve(status ?? 130);
    });
  });
}

void main().then((status) => {
  process.exitCode = status;
});
