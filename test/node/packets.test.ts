import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { describeKernel } from '../lab/kernel';
import { backends, backendVpc, clear, missing, type Network, openNetwork, ruleset } from './network';

// https://github.com/kubernetes/kubernetes, kubenet of 1.6, as the first write-up shows it.
const kubenet = `*nat
-A POSTROUTING ! -d 10.0.0.0/8 -m comment --comment "kubenet: SNAT for outbound traffic from cluster" -m addrtype ! --dst-type LOCAL -j MASQUERADE
COMMIT
`;

describe.each(backends)('packets on %s', (backend) => {
  describeKernel('from a pod to the peer', missing(backend), () => {
    let network: Network;
    beforeAll(async () => {
      network = await openNetwork(backend);
    });
    afterEach(() => clear(network));
    afterAll(() => network.lab.close());

    test('are dropped by the router before, and carry the address of the node afterwards', async () => {
      expect(await network.sourceSeen()).toBe('dropped');
      expect(await network.apply(backendVpc())).toMatchObject({
        code: 0,
        result: 'applied',
        proven: true,
        backend,
      });
      expect(await network.sourceSeen()).toBe('10.209.0.2');
    });

    test('likewise in IPv6', async () => {
      const six = ruleset(
        1,
        'source fd00:132::/32',
        'exempt fd00:132::/32 pods',
        'masquerade fd00:193::/32 six',
      );
      expect(await network.sourceSeen('fd00:193::3')).toBe('dropped');
      expect(await network.apply(six)).toMatchObject({ code: 0, proven: true });
      expect(await network.sourceSeen('fd00:193::3')).toBe('fd00:209::2');
    });

    test('get through although they hung since before the rules', async () => {
      const nat = backend === 'nft' ? 'iptables-nft' : backend;
      await network.node.run([`${nat}-restore`, '--noflush'], { stdin: kubenet });
      const flows = network.node.spawn(['conntrack', '-E', '-e', 'NEW', '-d', '10.193.0.3']);
      const hanging = network.pod.spawn(['curl', '-s', '--max-time', '8', 'http://10.193.0.3:8080/']);
      await flows.output(/UNREPLIED/);
      expect(await network.apply(backendVpc())).toMatchObject({ healed: 1 });
      expect(await hanging.ended).toMatchObject({ code: 0, stdout: '10.209.0.2\n' });
    });
  });
});
