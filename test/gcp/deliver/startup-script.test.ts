import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { composeStartupScript, originalStartupScript } from '../../../shared/gcp/deliver/startup-script';
import { bootGceNode } from '../../lab/gcp/startup-scripts-service';
import { startMetadataServer, type MetadataServer } from '../../lab/gcp/metadata-server';
import { addVm, makeGcpState, setMetadata, type GcpState, type LabVm } from '../../lab/gcp/state';
import type { Machine } from '../../lab/machine';

describe("an instance's own startup script", () => {
  const anyScript = fc.oneof(
    fc.string({ minLength: 1, unit: 'binary' }),
    fc.constantFrom(
      '\n',
      '\r\n',
      '#!/bin/sh',
      '#!/bin/bash\n# peermasq: startup script',
      "EOF\n'",
      '\u0000\u0001\u007f',
    ),
  );

  test('is restored byte for byte from the composed script', () => {
    fc.assert(
      fc.property(anyScript, (script) => {
        expect(originalStartupScript(composeStartupScript(script))).toBe(script);
      }),
    );
  });

  test('stays the same when it is composed again', () => {
    fc.assert(
      fc.property(fc.option(anyScript, { nil: undefined }), (script) => {
        const composed = composeStartupScript(script);
        expect(composeStartupScript(composed)).toBe(composed);
      }),
    );
  });

  test.each([undefined, ''])('is treated as missing if it is %j', (none) => {
    expect(originalStartupScript(composeStartupScript(none))).toBeUndefined();
  });

  test('gets the current block even if the script was previously composed by an older version of peermasq', () => {
    const current = composeStartupScript('#!/bin/sh\necho theirs\n');
    const older = current.replace('version 1\n', 'version 0\n').replace('start_peermasq ||', 'old_start ||');
    expect(older).not.toBe(current);
    expect(composeStartupScript(older)).toBe(current);
  });

  test('is optional, and the script composed without it passes shellcheck', () => {
    execFileSync('shellcheck', ['--shell=bash', '--severity=style', '-'], {
      input: composeStartupScript(undefined),
    });
  });
});

/** Runs scripts on the machine that runs the tests: these scripts change only files in their own directory. */
const here: Machine = {
  run: ([command = '', ...args], { stdin = '', env = {} } = {}) =>
    new Promise((resolve) => {
      const options = { env: { ...process.env, ...env } };
      const child = execFile(command, args, options, (_, stdout, stderr) => {
        const { exitCode, signalCode } = child;
        resolve({ status: exitCode ?? 128 + constants.signals[signalCode ?? 'SIGHUP'], stdout, stderr });
      });
      // Writing fails if the script does not read its input.
      child.stdin?.on('error', () => undefined).end(stdin);
    }),
};

describe('the composed script at boot', () => {
  let cloud: GcpState;
  let vm: LabVm;
  let server: MetadataServer;
  let folder: string;

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'peermasq-boot-'));
  });
  afterAll(() => {
    rmSync(folder, { recursive: true });
  });
  beforeEach(async () => {
    cloud = makeGcpState();
    vm = addVm(cloud);
    server = await startMetadataServer(cloud, vm);
    setMetadata(cloud, vm, 'peermasq-program', '#!/bin/bash\n# peermasq: a stand-in\necho "peermasq $*"\n');
  });
  afterEach(() => server.close());

  const boot = async () => {
    const finished = await bootGceNode(here, { metadataHost: server.address, env: { TMPDIR: folder } });
    if (!finished) throw new Error('no script ran');
    return finished;
  };
  const bootWith = (original: string | undefined) => {
    setMetadata(cloud, vm, 'startup-script', composeStartupScript(original));
    return boot();
  };

  test.each<[string, string, { readonly stdout: string; readonly status: number }]>([
    ['sh', '#!/bin/sh\necho theirs; exit 3', { stdout: 'theirs\n', status: 3 }],
    [
      'bash that execs',
      '#!/bin/bash\nexec printf "theirs %s" "$(basename "$0" | cut -d. -f1)"\n',
      { stdout: 'theirs startup-script', status: 0 },
    ],
    ['no shebang', 'echo "theirs $((1 + 1))"\n', { stdout: 'theirs 2\n', status: 0 }],
    [
      'perl',
      '#!/usr/bin/env perl\nprint "theirs ", 2**4, "\\n"; exit 7;',
      { stdout: 'theirs 16\n', status: 7 },
    ],
    [
      'node',
      `#!${process.execPath}\nconsole.log(\`theirs $HOME \${1 + 1}\`)`,
      { stdout: 'theirs $HOME 2\n', status: 0 },
    ],
    [
      'leading white space',
      '\n\n  #!/usr/bin/env perl\nprint "theirs\\n"',
      { stdout: 'theirs\n', status: 0 },
    ],
    ['comments with CRLF', '#!/bin/sh\n# dos\r\necho theirs\n', { stdout: 'theirs\n', status: 0 }],
    [
      'a heredoc and all kinds of quotes',
      `cat <<'EOF'\n'"\`$(reboot)\\\nEOF`,
      { stdout: `'"\`$(reboot)\\\n`, status: 0 },
    ],
    ['a script killed by a signal', 'echo theirs; kill -9 $$', { stdout: 'theirs\n', status: 137 }],
  ])('runs the original script: %s', async (_, original, { stdout, status }) => {
    expect(await bootWith(original)).toMatchObject({ stdout: `${stdout}peermasq watch --install\n`, status });
  });

  test('passes every byte of the original script to its interpreter', async () => {
    const bytes = Array.from({ length: 127 }, (_, code) => String.fromCharCode(code + 1)).join('');
    const original = `#!/bin/cat\n${bytes}\r\n\\\n$(reboot) \`reboot\` EOF\n\u00e9\u{1f600} no newline at the end`;
    expect((await bootWith(original)).stdout).toBe(`${original}peermasq watch --install\n`);
  });

  test('starts peermasq even if the original script fails because its shebang has CRLF', async () => {
    const original = '#!/bin/sh\r\necho theirs\r\n';
    setMetadata(cloud, vm, 'startup-script', original);
    const alone = await boot();
    expect(alone.status).not.toBe(0);
    expect(await bootWith(original)).toMatchObject({
      stdout: 'peermasq watch --install\n',
      status: alone.status,
    });
  });

  test('starts only peermasq if there was no script', async () => {
    expect(await bootWith(undefined)).toMatchObject({ stdout: 'peermasq watch --install\n', status: 0 });
  });

  test("runs the project's startup scripts, which the guest agent then skips", async () => {
    const project = cloud.projects[vm.project];
    project?.metadata.push(
      { key: 'startup-script', value: '\n#!/bin/sh\necho from the project; exit 5\n' },
      { key: 'startup-script-url', value: `http://${server.address}/script` },
    );
    // The URL responds with 403. A script that cannot be downloaded is reported as a failure, as the guest agent
    // does.
    expect(await bootWith(undefined)).toMatchObject({
      stdout: 'from the project\npeermasq watch --install\n',
      status: 1,
    });
    project?.metadata.pop();
    expect(await bootWith(undefined)).toMatchObject({ status: 5 });
  });

  test("downloads a project's startup script from a bucket with the node's service account", async () => {
    const url = { key: 'startup-script-url', value: 'gs://bucket/a/script.sh' };
    cloud.projects[vm.project]?.metadata.push(url);
    const bucket = `#!/bin/bash
case $* in
  *https://storage.googleapis.com/bucket/a/script.sh*) echo "echo got with $(cat); exit 6" ;;
  *) exec /usr/bin/curl "$@" ;;
esac`;
    writeFileSync(join(folder, 'curl'), bucket, { mode: 0o755 });
    setMetadata(cloud, vm, 'startup-script', composeStartupScript(undefined));
    const env = { TMPDIR: folder, PATH: `${folder}:${process.env['PATH'] ?? ''}` };
    const finished = await bootGceNode(here, { metadataHost: server.address, env });
    expect(finished).toMatchObject({
      stdout: 'got with Authorization: Bearer ya29.lab\npeermasq watch --install\n',
      status: 6,
    });
  });

  test("does not run the project's startup scripts if the instance has its own", async () => {
    cloud.projects[vm.project]?.metadata.push({ key: 'startup-script', value: 'echo from the project' });
    expect((await bootWith('echo theirs')).stdout).toBe('theirs\npeermasq watch --install\n');
    setMetadata(cloud, vm, 'startup-script-url', 'gs://bucket/theirs.sh');
    expect((await bootWith(undefined)).stdout).toBe('peermasq watch --install\n');
  });

  describe("when it is seeded in the project's metadata", () => {
    const seed = (original?: string) => {
      setMetadata(cloud, vm, 'peermasq-program', undefined);
      cloud.projects[vm.project]?.metadata.push(
        { key: 'startup-script', value: composeStartupScript(original) },
        { key: 'peermasq-program', value: '#!/bin/bash\n# peermasq: a stand-in\necho "seeded $*"\n' },
      );
    };

    test.each([
      [undefined, 'seeded watch --install\n', 0],
      ['echo theirs; exit 3', 'theirs\nseeded watch --install\n', 3],
    ])("starts the project's node program after %j", async (original, stdout, status) => {
      seed(original);
      expect(await boot()).toMatchObject({ stdout, status });
    });

    test.each([
      [undefined, 'seeded watch --install\n'],
      ['echo theirs', 'theirs\nseeded watch --install\n'],
    ])(
      "runs only once, after the project's %j, if the instance also has the script",
      async (original, stdout) => {
        seed(original);
        expect((await bootWith(undefined)).stdout).toBe(stdout);
      },
    );

    test("prefers the instance's node program to the project's", async () => {
      seed();
      setMetadata(cloud, vm, 'peermasq-program', '#!/bin/bash\n# peermasq: newer\necho newer\n');
      expect((await boot()).stdout).toBe('newer\n');
    });
  });

  test.each([
    ['missing', undefined],
    ['truncated', '#!/bin/bash\n# peermasq: a stand-in\nmain() {\n  echo'],
    ['not a node program', '<html>Not Found</html>'],
  ])('prints a message instead of starting peermasq if the node program is %s', async (_, program) => {
    setMetadata(cloud, vm, 'peermasq-program', program);
    const { stdout, stderr, status } = await bootWith('echo theirs; exit 4');
    expect({ stdout, status }).toEqual({ stdout: 'theirs\n', status: 4 });
    expect(stderr).toContain('peermasq: not started');
  });

  test('unpacks a packed node program', async () => {
    const program = gzipSync('#!/bin/bash\n# peermasq: a stand-in\necho unpacked "$@"\n').toString('base64');
    setMetadata(cloud, vm, 'peermasq-program', program);
    expect((await bootWith(undefined)).stdout).toBe('unpacked watch --install\n');
  });

  test('retries when the metadata server fails', async () => {
    server.failNext(1, 'instance/attributes/peermasq-program');
    expect((await bootWith(undefined)).stdout).toBe('peermasq watch --install\n');
  });
});
