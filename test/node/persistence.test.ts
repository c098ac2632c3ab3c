import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describeKernel } from '../lab/kernel';
import { backendVpc, clear, type Network, openNetwork, program, type Report } from './network';

const unitFolder = '/etc/systemd/system';
/** The default of PEERMASQ_DIR. It is not under /run, because files there do not survive a reboot. */
const folder = '/var/lib/peermasq';

/** A fake systemctl, which logs one line for each call. systemd itself does not run in a network namespace. */
const systemctl = `#!/bin/sh
echo "$*" >>"$SYSTEMCTL_LOG"
case "$*" in
  "is-active --quiet peermasq-repair.timer") grep -q "start peermasq-repair.timer" "$SYSTEMCTL_LOG" ;;
  *) exit "\${SYSTEMCTL_EXIT:-0}" ;;
esac
`;

describeKernel('persistence:', existsSync(unitFolder) ? undefined : `there is no ${unitFolder}`, () => {
  let network: Network;
  const log = () => readFileSync(at('log'), 'utf8').trimEnd().split('\n').filter(Boolean);

  const at = (...path: string[]) => join(network.node.folder, 'files', ...path);
  const etc = () => at('etc');
  const run = () => at('run', 'system');
  const kept = () => at('lib', 'peermasq');

  beforeAll(async () => {
    network = await openNetwork('auto');
    // /run belongs to the lab. The program assumes that systemd is running only if this folder contains `system`.
    mkdirSync('/run/systemd', { recursive: true });
  });
  beforeEach(() => {
    for (const path of [etc(), run(), at('bin'), at('lib')]) mkdirSync(path, { recursive: true });
    writeFileSync(at('bin', 'systemctl'), systemctl, { mode: 0o755 });
    writeFileSync(at('log'), '');
    network.mount(etc(), unitFolder);
    network.mount(at('lib'), '/var/lib');
  });
  afterEach(async () => {
    await clear(network);
    rmSync(at(), { recursive: true });
  });
  afterAll(() => network.lab.close());

  const withSystemd = (env: Record<string, string> = {}) => ({
    PEERMASQ_PERSIST: '1',
    PEERMASQ_DIR: folder,
    PATH: `${at('bin')}:${process.env['PATH'] ?? ''}`,
    SYSTEMCTL_LOG: at('log'),
    ...env,
  });
  const bootSystemd = () => {
    network.mount(at('run'), '/run/systemd');
  };
  const apply = (env: Record<string, string> = {}) =>
    network.peermasq(['apply'], { stdin: backendVpc(), env: withSystemd(env) });

  test('no repair timer is installed if watch is running, because watch repairs drift itself', async () => {
    bootSystemd();
    writeFileSync(join(etc(), 'peermasq-watch.service'), '');
    expect(await apply()).toMatchObject({ code: 0, persisted: 'systemd', warnings: [] });
    expect(readdirSync(etc()).sort()).toEqual(['peermasq-watch.service', 'peermasq.service']);
  });

  test('units are written, enabled and started, and they run the stored program', async () => {
    bootSystemd();
    expect(await apply()).toMatchObject({ code: 0, persisted: 'systemd', warnings: [] });
    expect(readdirSync(etc()).sort()).toEqual([
      'peermasq-repair.service',
      'peermasq-repair.timer',
      'peermasq.service',
    ]);
    expect(readFileSync(join(kept(), 'peermasq.sh'))).toEqual(readFileSync(program));
    expect(readFileSync(join(etc(), 'peermasq.service'), 'utf8')).toContain(`${folder}/peermasq.sh repair`);
    expect(log()).toEqual(
      expect.arrayContaining([
        'daemon-reload',
        'enable --quiet peermasq.service',
        'enable --quiet peermasq-repair.timer',
        'restart peermasq-repair.timer',
      ]),
    );
    const verify = spawnSync(
      'systemd-analyze',
      ['verify', ...readdirSync(etc()).map((unit) => join(etc(), unit))],
      { encoding: 'utf8' },
    );
    const isAboutOurs = (line: string) => line.includes('peermasq') && !line.includes('is not executable');
    if (!verify.error) expect(verify.stderr.split('\n').filter(isAboutOurs)).toEqual([]);
    expect(await network.peermasq(['status'], { env: withSystemd() })).toMatchObject({
      persisted: 'systemd',
    });
  });

  test('a second apply makes no changes in systemd', async () => {
    bootSystemd();
    await apply();
    const before = log().length;
    expect(await apply()).toMatchObject({ result: 'unchanged', persisted: 'systemd' });
    expect(
      log()
        .slice(before)
        .filter((line) => !line.startsWith('is-active')),
    ).toEqual([]);
  });

  test('the stored program repairs the rules when it is started with the same command as in the units', async () => {
    bootSystemd();
    await apply();
    await network.node.run(['nft', 'flush', 'ruleset']);
    const argv = ['bash', join(folder, 'peermasq.sh'), 'repair'];
    const repaired = await network.node.run(argv, { env: withSystemd() });
    expect(JSON.parse(repaired) as Report).toMatchObject({
      result: 'applied',
      proven: true,
      persisted: 'systemd',
    });
  });

  test('units last only until the next boot if /etc is read-only', async () => {
    bootSystemd();
    await network.node.run(['mkdir', '-p', run()]);
    const readOnly = [
      'unshare',
      '--mount',
      'sh',
      '-c',
      'mount -o remount,bind,ro "$1" && shift && exec "$@"',
      'read-only',
      unitFolder,
      'bash',
      program,
      'apply',
    ];
    const env = withSystemd();
    const report = JSON.parse(await network.node.run(readOnly, { stdin: backendVpc(), env })) as Report;
    expect(report).toMatchObject({ proven: true, persisted: 'runtime' });
    expect(readdirSync(etc())).toEqual([]);
    expect(readdirSync(run())).toContain('peermasq.service');
    expect(log()).toContain('enable --quiet --runtime peermasq.service');
  });

  test.each([
    [
      'systemd is not running',
      {},
      'systemd is not running: the rules are lost at a reboot, and drift is not repaired',
    ],
    [
      'systemd rejects the units',
      { SYSTEMCTL_EXIT: '1' },
      'systemd rejected the units: the rules are lost at a reboot, and drift is not repaired',
    ],
  ])('the report has a warning if %s', async (_, env, warning) => {
    if ('SYSTEMCTL_EXIT' in env) bootSystemd();
    const report = await apply(env);
    expect(report).toMatchObject({ code: 0, proven: true, persisted: 'no' });
    expect(report.warnings).toEqual([warning]);
  });

  test('the report has a warning if the program was read from a pipe and therefore cannot be stored', async () => {
    bootSystemd();
    const file = at('ruleset');
    writeFileSync(file, backendVpc());
    const env = withSystemd();
    const stdin = readFileSync(program);
    const report = JSON.parse(
      await network.node.run(['bash', '-s', 'apply', '--file', file], { stdin, env }),
    ) as Report;
    expect(report).toMatchObject({ result: 'applied', proven: true, persisted: 'no' });
    expect(report.warnings).toEqual(['the program was not run from a file: the rules are lost at a reboot']);
  });

  test('a truncated node program does nothing', async () => {
    const text = readFileSync(program, 'utf8');
    const cut = text.slice(0, text.lastIndexOf('main "$@"'));
    const { stdout } = await network.node.exec(['bash', '-s', 'apply'], { stdin: cut });
    expect(stdout).toBe('');
    expect(await network.node.run(['nft', 'list', 'ruleset'])).toBe('');
  });

  test('remove deletes the units and the stored files', async () => {
    bootSystemd();
    await apply();
    expect(await network.peermasq(['remove'], { env: withSystemd() })).toMatchObject({
      code: 0,
      result: 'removed',
    });
    expect(readdirSync(etc())).toEqual([]);
    expect(existsSync(kept())).toBe(false);
    expect(log()).toContain('disable --quiet --now peermasq-repair.timer');
  });

  test('only root can read the stored files', async () => {
    await apply();
    const modes = await network.node.run(['find', folder, '-printf', '%m %f\n']);
    expect(
      modes
        .split('\n')
        .filter(Boolean)
        .every((line) => /^[67]00 /.test(line)),
    ).toBe(true);
  });
});
