import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { describeKernel } from '../lab/kernel';
import { echoServerCommand, timeoutFactor } from '../lab/netns';
import { clear, type Network, openNetwork, ruleset } from './network';

const probing = (...probes: string[]) =>
  ruleset(
    1,
    'source 10.132.0.0/14',
    'source fd00:132::/32',
    'masquerade 10.193.0.0/16 backend-vpc',
    'masquerade fd00:193::/32 six',
    ...probes.map((probe) => `probe ${probe}`),
  );

describeKernel('the probes of a rule set', undefined, () => {
  let network: Network;
  beforeAll(async () => {
    network = await openNetwork('auto');
  });
  afterEach(() => clear(network));
  afterAll(() => network.lab.close());

  test('connect from a pod, in both families, and prove the path to the peer', async () => {
    const report = await network.apply(probing('10.193.0.3:8080', '[fd00:193::3]:8080'));
    expect(report).toMatchObject({ code: 0, result: 'applied', proven: true });
    expect(report.probes).toEqual([
      { to: '10.193.0.3:8080', from: '10.132.0.10', reached: true },
      { to: '[fd00:193::3]:8080', from: 'fd00:132::10', reached: true },
    ]);
    // A probe that succeeds ends before its timeout of 3 s.
    const began = Date.now();
    await network.peermasq(['probe']);
    expect(Date.now() - began).toBeLessThan(2900 * timeoutFactor);
  });

  test('send no bytes to the service', async () => {
    const listen = `require('net').createServer((s) => s.on('data', (d) => console.log('got', d)).on('close', () => console.log('closed'))).listen(7000, () => console.log('up'))`;
    const service = network.peer.spawn([process.execPath, '-e', listen]);
    await service.output(/up/);
    expect(await network.apply(probing('10.193.0.3:7000'))).toMatchObject({ proven: true });
    await service.output(/closed/);
    expect(service.stdout()).not.toContain('got');
    await service.stop();
  });

  test('leave the rules in force but unproven while they fail', async () => {
    const report = await network.apply(probing('10.193.0.3:8080', '10.193.0.3:9090'));
    expect(report).toMatchObject({ code: 0, result: 'applied', proven: false });
    expect(report.reason).toBe(
      'probe 10.193.0.3:9090 from pod 10.132.0.10 proves nothing: it was refused, or dropped before it left the node (the service, a sidecar or a network policy)',
    );
    expect(await network.sourceSeen()).toBe('10.209.0.2');
    expect(await network.peermasq(['status'])).toMatchObject({ proven: false, drift: [] });
    expect(await network.peermasq(['repair'])).toMatchObject({ code: 0, result: 'unchanged', proven: false });

    const late = network.peer.spawn(echoServerCommand(9090));
    await late.output(/listening/);
    expect(await network.peermasq(['repair'])).toMatchObject({ code: 0, result: 'unchanged', proven: true });
    expect(await network.peermasq(['status'])).toMatchObject({ proven: true });
    await late.stop();
  });

  test('time out in parallel if their packets are dropped', async () => {
    await network.apply(probing('10.193.0.3:6000', '10.193.0.3:6001'));
    const drop = 'nft insert rule inet router forward tcp dport 6000-6001 drop';
    await network.router.run(drop.split(' '));
    const began = Date.now();
    expect(await network.peermasq(['probe'])).toMatchObject({ proven: false });
    // One after another, the probes would take 6 s.
    expect(Date.now() - began).toBeLessThan(6000);
  });

  test('can also be run without apply', async () => {
    await network.apply(probing('10.193.0.3:8080'));
    const report = await network.peermasq(['probe']);
    expect(report).toMatchObject({ code: 0, result: 'probed', proven: true });
    expect(report.probes).toEqual([{ to: '10.193.0.3:8080', from: '10.132.0.10', reached: true }]);
  });

  test('are skipped with a warning if the node has no address in the pod range', async () => {
    const report = await network.apply(
      ruleset(1, 'source 10.50.0.0/16', 'masquerade 10.193.0.0/16 a', 'probe 10.193.0.3:8080'),
    );
    expect(report).toMatchObject({ code: 0, proven: true, probes: [] });
    expect(report.warnings).toEqual(['no address in the pod range on this node: its probes are not run']);
  });

  test('are limited to 16, and their report fits in 2,000 bytes', async () => {
    const many = Array.from(
      { length: 20 },
      (_, i) => `[fd00:193:1111:2222:3333:4444:5555:${(i + 4096).toString(16)}]:8080`,
    );
    const { stdout } = await network.execute(['apply'], { stdin: probing(...many), timeoutMs: 15_000 });
    expect(Buffer.byteLength(stdout)).toBeLessThan(2000);
    expect(JSON.parse(stdout)).toMatchObject({ result: 'applied', proven: false });
    expect(stdout).toContain('only the first 16 of 20 probes are run');
  });
});
