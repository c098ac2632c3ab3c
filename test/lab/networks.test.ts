import { afterEach, expect, test } from '@jest/globals';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describeKernel } from './kernel';
import { buildNetworks, type Networks } from './networks';
import { awsGcpVpn, awsPeering, gcpPeering } from './topologies';

// The fixes from the two write-ups, verbatim.
const fixes = [
  {
    topology: gcpPeering,
    rule: '-A POSTROUTING -d 10.193.0.0/16 -m comment --comment chris -m addrtype ! --dst-type LOCAL -j MASQUERADE',
    body: '<h1>Hello Kubernetes!</h1>',
  },
  {
    topology: awsPeering,
    rule: '-I POSTROUTING -d 10.0.3.20/32 -o eth0 -j MASQUERADE',
    body: 'Password for user web:',
  },
  {
    topology: awsGcpVpn,
    rule: '-I POSTROUTING -d 10.193.0.0/16 -o eth0 -j MASQUERADE',
    body: '<h1>Hello Kubernetes!</h1>',
  },
];

describeKernel('the networks in the lab', undefined, () => {
  const built: Networks[] = [];
  const networksOf = async (...args: Parameters<typeof buildNetworks>) => {
    const networks = await buildNetworks(...args);
    built.push(networks);
    return networks;
  };
  afterEach(() => Promise.all(built.splice(0).map((networks) => networks.close())));

  test.each(fixes)(
    'reproduce $topology.name: a request hangs from the pod but works from the node, and one rule fixes it',
    async (fix) => {
      const { topology } = fix;
      const { address, network, pods } = topology.node;
      const { node, pod, router } = await networksOf(topology);

      const [fromPod, fromNode] = await Promise.all([pod.request(1_200), node.request()]);
      expect(fromPod).toEqual({ reached: false, reason: 'no connection in 1200 ms' });
      expect(fromNode).toEqual({ reached: true, body: fix.body, sourceSeenByPeer: address });
      const { sources, destinations } = await router(network).dropped();
      expect(sources).toEqual({ [pods.pod]: expect.any(Number) });
      expect(sources[pods.pod]).toBeGreaterThanOrEqual(2);
      expect(destinations).toEqual({});
      expect(await router(topology.peer.network).dropped()).toEqual({ sources: {}, destinations: {} });

      await node.run(['iptables', '-t', 'nat', ...fix.rule.split(' ')]);
      expect(await pod.request()).toEqual({ reached: true, body: fix.body, sourceSeenByPeer: address });
    },
  );

  test("keep the node's files when the node is reset, but not its rules, flows and programs", async () => {
    const { node, resetNode } = await networksOf(gcpPeering);
    const shell = (command: string) => node.run(['sh', '-c', command]);
    const { stdout: before } = await node.run(['iptables-save', '-t', 'nat']);
    await shell('mkdir -p "$PEERMASQ_DIR" && echo kept > "$PEERMASQ_DIR/file"');
    await shell('setsid sleep 1000 > /dev/null 2>&1 & echo $! > "$PEERMASQ_DIR/pid"');
    await node.run(['iptables', '-t', 'nat', ...(fixes[0]?.rule.split(' ') ?? [])]);
    await resetNode();
    const rulesIn = (saved: string) => saved.split('\n').filter((line) => line.startsWith('-A'));
    const { stdout: after } = await node.run(['iptables-save', '-t', 'nat']);
    expect(rulesIn(after)).toEqual(rulesIn(before));
    expect(await shell('cat "$PEERMASQ_DIR/file"; ! kill -0 "$(cat "$PEERMASQ_DIR/pid")"')).toMatchObject({
      status: 0,
      stdout: 'kept\n',
    });
  });

  test("let a hanging request succeed once the rule is added and the request's flow is deleted", async () => {
    const { node, pod, router } = await networksOf(gcpPeering);
    const hanging = pod.request(10_000);
    await until(async () => '10.132.0.10' in (await router('vpc-b').dropped()).sources);
    await node.run(['iptables', '-t', 'nat', ...(fixes[0]?.rule.split(' ') ?? [])]);
    await node.run(['conntrack', '-D', '-s', '10.132.0.10']);
    expect(await hanging).toMatchObject({ reached: true, sourceSeenByPeer: '10.209.0.2' });
  });

  test('have routers that drop and count packets with unknown sources and destinations', async () => {
    const { node, router } = await networksOf(gcpPeering);
    const send = (from: string, to: string) =>
      node.run(['curl', '-s', '--interface', from, '--max-time', '0.2', `http://${to}/`]);
    await node.run(['ip', 'addr', 'add', '203.0.113.7/32', 'dev', 'lo']);
    await Promise.all([send('203.0.113.7', '10.193.0.3'), send('203.0.113.7', '10.193.0.3')]);
    await send('10.209.0.2', '198.51.100.9');
    expect(await router('vpc-b').dropped()).toEqual({
      sources: { '203.0.113.7': 2 },
      destinations: { '198.51.100.9': 1 },
    });
  });

  test('let the node reach servers in the test process, at a unique address or at a given one', async () => {
    const [one, other, third] = await Promise.all([
      networksOf(gcpPeering),
      networksOf(gcpPeering),
      networksOf(awsPeering, { managementAddress: '169.254.42.42' }),
    ]);
    expect(one.managementAddress).not.toBe(other.managementAddress);
    expect(third.managementAddress).toBe('169.254.42.42');
    const server = createServer((request, response) => response.end(request.socket.localAddress));
    await new Promise<void>((resolve) => server.listen(0, '0.0.0.0', resolve));
    const { port } = server.address() as AddressInfo;
    for (const { node, managementAddress } of [one, other, third]) {
      const answer = await node.run(['curl', '-sS', `http://${managementAddress}:${port}/`]);
      expect(answer).toEqual({ status: 0, stdout: managementAddress, stderr: '' });
    }
    await new Promise((resolve) => server.close(resolve));
  });

  test("pass the node's settings to programs, and end even detached programs on close", async () => {
    const networks = await buildNetworks(gcpPeering);
    const left = await networks.node.run(
      [
        ...['bash', '-c'],
        'echo "$PEERMASQ_PERSIST ${PEERMASQ_DIR##*/} $EXTRA"; setsid sleep 60 >/dev/null 2>&1 & echo $!; exit 3',
      ],
      { env: { EXTRA: 'more' } },
    );
    expect(left).toMatchObject({ status: 3, stdout: expect.stringMatching(/^0 peermasq more\n\d+\n$/) });
    const pid = Number(left.stdout.split('\n')[1]);
    expect(isRunning(pid)).toBe(true);
    await networks.close();
    expect(isRunning(pid)).toBe(false);
  });
});

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition()));
}
