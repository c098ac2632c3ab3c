import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { formatReadBy, parseReport } from '../../shared/core/model/report';
import { describeKernel } from '../lab/kernel';
import { programFile } from '../lab/node-program';
import { backendVpc, clear, natTable, type Network, openNetwork, program, sh } from './network';
import { programRunnerOn, reportLine } from './program-runner';
import { watchedNode } from './watched-node';

/** The last program that reads only format 1, as it was deployed. */
const oldText = gunzipSync(readFileSync(join(__dirname, 'fixtures/program-of-format-1.sh.gz'))).toString();
const oldProgram = programFile(oldText);
const newText = readFileSync(program, 'utf8');

const steered = (generation: number) =>
  backendVpc(generation).replace('peermasq/1', 'peermasq/2').replace('source ', 'option steer\nsource ');

/** The old program used options of flock that busybox lacks. */
const reason = process.env['PEERMASQ_APPLETS'] === 'busybox' ? 'the old program needs flock -w' : undefined;

describeKernel('with a format 1 program and the current program,', reason, () => {
  let network: Network;
  const { order, watch, request, status, serve, stop } = watchedNode(() => network.node);
  const runner = (file: string) => async (command: string, stdin?: string) => {
    const run = programRunnerOn(network.node, 'iptables-nft', file);
    const ended = await run([command], stdin === undefined ? {} : { stdin });
    return { ...parseReport(reportLine(ended)), code: ended.code };
  };
  const older = runner(oldProgram);
  const newer = runner(program);

  beforeAll(async () => {
    network = await openNetwork('auto');
  });
  afterEach(() => clear(network));
  afterAll(() => network.lab.close());

  test('the older program refuses a rule set in format 2 and leaves the rules in force', async () => {
    const before = await older('apply', backendVpc(1));
    expect(before).toMatchObject({ result: 'applied', proven: true });
    expect(formatReadBy(before)).toBe(1);
    const rules = await natTable(network, 'iptables-nft');
    const refused = await older('apply', steered(2));
    expect(refused).toMatchObject({ code: 2, result: 'refused', id: before.id, generation: 1 });
    expect(refused.reason).toContain('expected peermasq/1');
    expect(formatReadBy(refused)).toBe(1);
    expect(await natTable(network, 'iptables-nft')).toBe(rules);
    expect(await network.sourceSeen()).toBe('10.209.0.2');
  });

  test('the newer program keeps the bytes, the ID and the rules of a rule set in format 1', async () => {
    const before = await older('apply', backendVpc(1));
    const rules = await natTable(network, 'iptables-nft');
    const after = await newer('apply', backendVpc(1));
    expect(after).toMatchObject({
      result: 'unchanged',
      proven: true,
      id: before.id,
      generation: 1,
      format: 2,
    });
    expect(await natTable(network, 'iptables-nft')).toBe(rules);
    const stored = await network.node.run(['cat', join(network.node.folder, 'kept/ruleset')]);
    expect(stored).toBe(backendVpc(1));
  });

  test('the older program accepts the rules that the newer program wrote for a rule set in format 1', async () => {
    const before = await newer('apply', backendVpc(1));
    expect(await older('repair')).toMatchObject({ result: 'unchanged', proven: true, id: before.id });
  });

  test('pods stay masqueraded with the older program again, which leaves the steering for the newer program to remove', async () => {
    const podRule = 'pref 1536 from 10.132.0.10 lookup main';
    const steering = 'ip rule; nft list tables';
    await sh(network.node, `ip rule add ${podRule}`);
    try {
      expect(await newer('apply', steered(1))).toMatchObject({ proven: true, steered: true });
      expect(await sh(network.node, steering)).toMatch(/1100:[^]*table ip peermasq/);
      expect(await older('apply', backendVpc(2))).toMatchObject({ result: 'applied', generation: 2 });
      expect(await network.sourceSeen()).toBe('10.209.0.2');
      expect(await newer('apply', backendVpc(3))).toMatchObject({ proven: true, generation: 3 });
      expect(await sh(network.node, steering)).not.toMatch(/1100:|peermasq/);
      expect(await network.sourceSeen()).toBe('10.209.0.2');
    } finally {
      await sh(network.node, `ip rule del ${podRule}`);
    }
  });

  test.each([
    ['with a rule set in format 2', steered(2)],
    ['with a rule set in format 1', backendVpc(2)],
  ])(
    'a watcher with the older program upgrades itself when a single metadata write delivers the newer program %s',
    async (_, text) => {
      await serve();
      await order({ set: { 'peermasq-ruleset': backendVpc(1), 'peermasq-program': oldText } });
      watch({}, oldProgram);
      expect(await status()).toMatchObject({ result: 'applied', proven: true, generation: 1 });
      await request(/wait_for_change/);
      await order({ set: { 'peermasq-ruleset': text, 'peermasq-program': newText } });
      let last = await status();
      // The older program reads the rule set before it reads the new program, and may report that it cannot read the
      // format.
      if (last.result === 'refused') {
        expect(last).toMatchObject({ generation: 1, proven: false });
        last = await status();
      }
      while (!('format' in last)) last = await status();
      expect(last).toMatchObject({ proven: true, generation: 2, format: 2 });
      expect(await network.sourceSeen()).toBe('10.209.0.2');
      await stop();
    },
  );
});
