import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { describeKernel } from '../lab/kernel';
import { joinParts, parsePart } from '../../shared/core/model/snapshot-parts';
import { backendVpc, clear, type Network, openNetwork, program, testedBackends } from './network';
import { watchedNode } from './watched-node';

/** Polls until a condition is true. The only time limit is the test's own timeout. */
async function until(isSo: () => Promise<boolean>): Promise<void> {
  while (!(await isSo())) await pause(100);
}

describeKernel('the watcher', undefined, () => {
  let network: Network;
  const { env, order, watch, request, status, server, serve, stop } = watchedNode(() => network.node);

  beforeAll(async () => {
    network = await openNetwork('auto');
  });
  beforeEach(serve);
  afterEach(async () => {
    await stop();
    await clear(network);
  });
  afterAll(() => network.lab.close());

  test('applies the current rule set immediately, and follows changes without delay', async () => {
    await order({ set: { 'peermasq-ruleset': backendVpc(1) } });
    watch();
    expect(await status()).toMatchObject({ result: 'applied', proven: true, generation: 1 });
    await request(/GET attributes\/\?recursive=true&wait_for_change=true&last_etag=\w+&timeout_sec=60/);
    await order({ set: { 'peermasq-ruleset': backendVpc(2) } });
    expect(await status()).toMatchObject({ result: 'unchanged', proven: true, generation: 2 });
    await order({ set: { 'peermasq-ruleset': 'rubbish\n' } });
    expect(await status()).toMatchObject({ result: 'refused', proven: false, generation: 2 });
    expect(await network.sourceSeen()).toBe('10.209.0.2');
  });

  test('waits for the first rule set without a busy loop', async () => {
    watch();
    await request(/GET attributes\/peermasq-ruleset /);
    await request(/wait_for_change/);
    await order({ set: { 'peermasq-ruleset': backendVpc() } });
    expect(await status()).toMatchObject({ result: 'applied', proven: true });
    const reads =
      server()
        .stdout()
        .match(/GET attributes\/peermasq-ruleset /g) ?? [];
    expect(reads.length).toBeLessThan(5);
  });

  test('answers each snapshot request once, and deletes the answer when the request has been removed', async () => {
    await order({ set: { 'peermasq-ruleset': backendVpc(1) } });
    watch();
    await status();
    const requestSnapshot = async (nonce: string | null) => {
      await request(/wait_for_change/);
      await order({ set: { 'peermasq-snapshot': nonce } });
    };
    const [one, other] = ['0'.repeat(32), '1'.repeat(32)];
    for (const nonce of [one, other]) {
      await requestSnapshot(nonce);
      const [, printed = ''] = await request(
        new RegExp(`PUT \\S+snapshot/0 ${nonce} (part [^]*?\n[^\n]*\n)`),
      );
      expect(joinParts([parsePart(printed)].flatMap((part) => part ?? []))).toContain('-A PEERMASQ ');
    }
    // Invalid nonces, and nonces that were already answered, are ignored.
    await requestSnapshot('; reboot');
    await requestSnapshot(other);
    await requestSnapshot(null);
    await request(/DELETE \S+snapshot\/0 \nDELETE \S+snapshot\/1 /);
    expect(
      server()
        .stdout()
        .match(/PUT \S+snapshot/g),
    ).toHaveLength(2);
  });

  test('retries writing and deleting the answer to a snapshot request while the server fails', async () => {
    await order({ set: { 'peermasq-ruleset': backendVpc(1) } });
    watch();
    await status();
    await request(/wait_for_change/);
    await order({ set: { 'peermasq-snapshot': '0'.repeat(32) }, fail: 1, verb: 'PUT' });
    await request(/503 PUT \S+snapshot\/0\n[^]*PUT \S+snapshot\/0 0{32} part /);
    await request(/wait_for_change/);
    await order({ set: { 'peermasq-snapshot': null }, fail: 1, verb: 'DELETE' });
    await request(/503 DELETE \S+snapshot\/0\n[^]*DELETE \S+snapshot\/0 \nDELETE \S+snapshot\/1 /);
  });

  test('recovers from server errors, from a server restart, and from a status that the server did not accept', async () => {
    await order({ set: { 'peermasq-ruleset': backendVpc(1) }, fail: 2 });
    watch();
    expect(await status()).toMatchObject({ result: 'applied', proven: true });
    await server().stop();
    await serve();
    await order({ set: { 'peermasq-ruleset': backendVpc(3) } });
    expect(await status()).toMatchObject({ result: 'unchanged', generation: 3 });
  });

  test('repairs drift between changes, and writes a status only when the status has changed', async () => {
    await order({ set: { 'peermasq-ruleset': backendVpc() } });
    watch({ PEERMASQ_INTERVAL: '1', PEERMASQ_BACKEND: 'nft' });
    expect(await status()).toMatchObject({ result: 'applied' });
    const changes = network.node.spawn(['nft', 'monitor']);
    await request(/wait_for_change[^\n]*\n[^]*wait_for_change/);
    await network.node.run(['nft', 'delete', 'table', 'ip', 'peermasq']);
    await changes.output(/delete table ip peermasq[^]*add table ip peermasq/);
    // The status did not change, so it was not written a second time.
    expect(server().stdout().match(/PUT/g)).toHaveLength(1);
    expect(await network.sourceSeen()).toBe('10.209.0.2');
  });

  test.each(testedBackends)('detects drift of the rules on %s by their fingerprint', async (backend) => {
    await order({ set: { 'peermasq-ruleset': backendVpc() } });
    watch({ PEERMASQ_INTERVAL: '1', PEERMASQ_BACKEND: backend });
    expect(await status()).toMatchObject({ result: 'applied', backend });
    // The first checks are full checks. After that, only fingerprints are compared.
    for (let round = 0; round < 4; round++) await request(/wait_for_change/);
    const flush =
      backend === 'nft'
        ? ['nft', 'flush', 'chain', 'ip', 'peermasq', 'postrouting']
        : [backend, '-t', 'nat', '-F', 'PEERMASQ'];
    await network.node.run(flush);
    await request(/wait_for_change/);
    await request(/wait_for_change/);
    expect(await network.sourceSeen()).toBe('10.209.0.2');
  });

  test('keeps reporting that a rule set was refused while it repairs the rule set in force', async () => {
    await order({ set: { 'peermasq-ruleset': backendVpc(5) } });
    watch({ PEERMASQ_INTERVAL: '1', PEERMASQ_BACKEND: 'nft' });
    await status();
    await order({ set: { 'peermasq-ruleset': 'rubbish\n' } });
    expect(await status()).toMatchObject({ result: 'refused' });
    await network.node.run(['nft', 'delete', 'table', 'ip', 'peermasq']);
    await until(async () => (await network.sourceSeen()) === '10.209.0.2');
    await order({ set: { 'peermasq-ruleset': backendVpc(6) } });
    // No other status was written in the meantime.
    expect(await status()).toMatchObject({ result: 'unchanged', generation: 6 });
  });

  test('tries again each minute while clocks disagree, and repairs the rule set in force meanwhile', async () => {
    const stored = join(network.node.folder, 'kept/ruleset');
    await order({ set: { 'peermasq-ruleset': backendVpc(5) } });
    watch({ PEERMASQ_INTERVAL: '1', PEERMASQ_BACKEND: 'nft' });
    await status();
    await network.node.run(['sed', '-i', '2s/.*/generation 4102444800000/', stored]);
    await order({ set: { 'peermasq-ruleset': backendVpc(7) } });
    expect(await status()).toMatchObject({
      result: 'refused',
      code: 'clock-skew',
      generation: 4102444800000,
    });
    await network.node.run(['nft', 'delete', 'table', 'ip', 'peermasq']);
    await until(async () => (await network.sourceSeen()) === '10.209.0.2');
    await network.node.run(['sed', '-i', '2s/.*/generation 6/', stored]);
    expect(await status()).toMatchObject({ result: 'unchanged', proven: true, generation: 7 });
  });

  test('reports a failing repair only as long as the repair fails', async () => {
    await order({ set: { 'peermasq-ruleset': backendVpc(5) } });
    const bin = join(network.node.folder, 'bin');
    await network.node.run(['mkdir', bin]);
    const nft = `#!/bin/sh\n[ ! -e ${bin}/broken ] || exit 1\nPATH=/usr/sbin:/sbin exec nft "$@"\n`;
    writeFileSync(join(bin, 'nft'), nft, { mode: 0o755 });
    watch({ PEERMASQ_INTERVAL: '1', PEERMASQ_BACKEND: 'nft', PATH: `${bin}:${process.env['PATH'] ?? ''}` });
    await status();
    writeFileSync(join(bin, 'broken'), '');
    expect(await status()).toMatchObject({ result: 'failed', proven: false });
    await network.node.run(['rm', join(bin, 'broken')]);
    expect(await status()).toMatchObject({ proven: true });
  });

  test('applies the rule set again if the stored rule set is damaged', async () => {
    await order({ set: { 'peermasq-ruleset': backendVpc(5) } });
    watch({ PEERMASQ_INTERVAL: '1', PEERMASQ_BACKEND: 'nft' });
    await status();
    writeFileSync(join(network.node.folder, 'kept', 'ruleset'), 'rubbish\n');
    await network.node.run(['nft', 'delete', 'table', 'ip', 'peermasq']);
    await until(async () => (await network.sourceSeen()) === '10.209.0.2');
  });

  test('restarts as the program in the metadata if that program is complete and valid', async () => {
    const text = readFileSync(program, 'utf8');
    await order({ set: { 'peermasq-ruleset': backendVpc(1), 'peermasq-program': text.slice(0, -20) } });
    const running = watch({ PEERMASQ_INTERVAL: '1' });
    await running.output(/peermasq-program is rejected: not the node program, or truncated/);
    expect(existsSync(join(network.node.folder, 'kept/peermasq.sh'))).toBe(false);
    const newer = text.replace('main "$@"\n', '# newer\nmain "$@"\n');
    await order({ set: { 'peermasq-ruleset': backendVpc(2), 'peermasq-program': newer } });
    await running.output(/restarting as another version of the program/);
    expect(readFileSync(join(network.node.folder, 'kept/peermasq.sh'), 'utf8')).toBe(newer);
    await order({ set: { 'peermasq-ruleset': backendVpc(3) } });
    await request(/PUT [^\n]*"generation":3,/);
    expect(running.stderr().match(/restarting as/g)).toHaveLength(1);
  });

  /** A future program that also reads format 9, which has the same lines as format 1. */
  const laterProgram = () => {
    const text = readFileSync(program, 'utf8');
    const later = text.replace(
      /^( *)(unpack "\$1" "\$WORK\/ruleset" \|\| return 1\n)/m,
      '$1$2$1sed -i \'1s,^peermasq/9$,peermasq/1,\' "$WORK/ruleset"\n',
    );
    expect(later).not.toBe(text);
    return later;
  };
  const laterRuleSet = backendVpc(2).replace('peermasq/1', 'peermasq/9');

  test.each([
    ['', {}],
    [', even if that program cannot be read at first', { fail: 2, key: 'peermasq-program' }],
  ])(
    'upgrades before it applies a rule set in a newer format that arrives with a newer program%s',
    async (_, failure) => {
      await order({ set: { 'peermasq-ruleset': backendVpc(1) } });
      watch();
      expect(await status()).toMatchObject({ result: 'applied', generation: 1 });
      await request(/wait_for_change/);
      const set = { 'peermasq-ruleset': laterRuleSet, 'peermasq-program': laterProgram() };
      await order({ set, ...failure });
      // No other status was written in the meantime.
      expect(await status()).toMatchObject({ result: 'unchanged', proven: true, generation: 2 });
      expect(await network.sourceSeen()).toBe('10.209.0.2');
    },
  );

  test('refuses a rule set in a newer format until the newer program arrives, and keeps the rule set in force', async () => {
    await order({ set: { 'peermasq-ruleset': backendVpc(1) } });
    watch();
    await status();
    await order({ set: { 'peermasq-ruleset': laterRuleSet } });
    expect(await status()).toMatchObject({ result: 'refused', generation: 1 });
    expect(await network.sourceSeen()).toBe('10.209.0.2');
    await order({ set: { 'peermasq-program': laterProgram() } });
    expect(await status()).toMatchObject({ result: 'unchanged', proven: true, generation: 2 });
  });

  test('exits immediately on SIGTERM, and only one watcher runs at a time', async () => {
    await order({ set: { 'peermasq-ruleset': backendVpc() } });
    const running = watch();
    await request(/wait_for_change/);
    expect(await network.peermasq(['watch'], { env: env() })).toMatchObject({ code: 4, result: 'busy' });
    // A process that does not exit within two seconds is killed, and has no exit code.
    expect(await running.stop()).toMatchObject({ code: 0 });
  });

  test('started with --install on a node without systemd runs in the background until remove is run', async () => {
    await order({ set: { 'peermasq-ruleset': backendVpc() } });
    const install = () => network.node.run(['bash', program, 'watch', '--install'], { env: env() });
    await install();
    await install();
    expect(await status()).toMatchObject({ result: 'applied', proven: true });
    expect(readFileSync(join(network.node.folder, 'kept/peermasq.sh'))).toEqual(readFileSync(program));
    const pid = readFileSync(join(network.node.folder, 'kept/watch.lock'), 'utf8').trim();
    expect(await network.peermasq(['remove'], { env: env() })).toMatchObject({ result: 'removed' });
    while (existsSync(`/proc/${pid}`)) await network.node.run(['true']);
  });
});
