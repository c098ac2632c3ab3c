import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describeKernel } from '../lab/kernel';
import { backendVpc, clear, type Network, openNetwork, ruleset, sh } from './network';

describeKernel('the stored files', undefined, () => {
  let network: Network;
  const kept = (...path: string[]) => join(network.node.folder, 'kept', ...path);

  beforeAll(async () => {
    network = await openNetwork('auto');
  });
  afterEach(() => clear(network));
  afterAll(() => network.lab.close());

  const newer = ruleset(200, 'source 10.132.0.0/14', 'masquerade 10.193.0.0/16 newer');

  describe('after a run was killed between changing the kernel and storing the rule set:', () => {
    /** Simulates the kill with a fake `mv`, which runs after the change to the kernel and kills its parent process. */
    const killed = async () => {
      const tools = join(network.node.folder, 'tools');
      mkdirSync(tools, { recursive: true });
      writeFileSync(
        join(tools, 'mv'),
        `#!/bin/sh
        case "$*" in *ruleset) [ -e '${kept()}/.ruleset.new' ] && kill -KILL $PPID; exit 1 ;; esac
        exec /usr/bin/mv "$@"\n`,
      );
      chmodSync(join(tools, 'mv'), 0o755);
      const env = { PATH: `${tools}:${process.env['PATH'] ?? ''}` };
      const { stdout } = await network.execute(['apply'], { stdin: newer, env });
      expect(stdout).toBe('');
    };

    test('repair applies the newer rule set, not the older one', async () => {
      await network.apply(backendVpc(100));
      await killed();
      expect(await network.peermasq(['repair'])).toMatchObject({ generation: 200, proven: true });
      expect(readFileSync(kept('ruleset'), 'utf8')).toBe(newer);
    });

    test('a rule set with a generation between the two is refused', async () => {
      await network.apply(backendVpc(100));
      await killed();
      expect(await network.apply(backendVpc(150))).toMatchObject({ result: 'refused', generation: 200 });
    });

    test('an incomplete file is ignored', async () => {
      await network.apply(backendVpc(100));
      writeFileSync(kept('.ruleset.new'), newer.slice(0, 40));
      expect(await network.peermasq(['repair'])).toMatchObject({ generation: 100, proven: true });
    });
  });

  test('make apply fail, not refuse, if the disk is full', async () => {
    mkdirSync(kept(), { recursive: true });
    await sh(
      network.node,
      `mount -t tmpfs -o size=64k,mode=755 none '${kept()}'; dd if=/dev/zero of='${kept('full')}' bs=4k 2>/dev/null || :`,
    );
    network.mounted.push(kept());
    expect(await network.apply(backendVpc())).toMatchObject({ code: 3, result: 'failed' });
  });

  test('no longer include the temporary files of a killed run, but still include those of a running one', async () => {
    await network.apply(backendVpc());
    const hours = (count: number) => new Date(Date.now() - count * 3_600_000);
    for (const name of ['.tmp.old', '.tmp.new', '.tmp.held']) mkdirSync(kept(name));
    await sh(
      network.node,
      `touch -d '${hours(2).toISOString()}' '${kept('.tmp.old')}' '${kept('.tmp.held')}'`,
    );
    const holder = network.node.spawn(['flock', kept('.tmp.held'), 'sh', '-c', 'echo held; sleep 60']);
    await holder.output(/held/);
    await network.peermasq(['repair']);
    expect(
      readdirSync(kept())
        .filter((name) => name.startsWith('.tmp.'))
        .sort(),
    ).toEqual(['.tmp.held', '.tmp.new']);
    await holder.stop();
    await network.peermasq(['remove']);
    expect(readdirSync(network.node.folder)).not.toContain('kept');
  });

  test.each([
    ['other users can write to the parent of their folder', 'chmod 777 "$at"; mkdir "$at/peermasq"'],
    ['another user owns the parent of their folder', 'chown 1 "$at"; mkdir "$at/peermasq"'],
    [
      'the parent of their folder is a symbolic link owned by another user',
      'mkdir -p "$at/real/peermasq"; ln -s real "$at/link"; chown -h 1 "$at/link"; at=$at/link',
    ],
    ['other users can write to their folder', 'mkdir -m 777 "$at/peermasq"'],
  ])('are not opened if %s', async (_, script) => {
    const at = join(network.node.folder, 'parent');
    const folder = await sh(
      network.node,
      `at='${at}'; rm -rf "$at"; mkdir "$at"; ${script}; printf %s "$at/peermasq"`,
    );
    await sh(network.node, `mkfifo '${folder}/ruleset'`);
    for (const command of [['apply'], ['status'], ['repair']]) {
      const report = await network.peermasq(command, { stdin: backendVpc(), env: { PEERMASQ_DIR: folder } });
      expect(report).toMatchObject({ code: 2, result: 'refused' });
    }
    expect(readdirSync(folder)).toEqual(['ruleset']);
  });
});
