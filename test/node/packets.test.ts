import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { join } from 'node:path';
import { describeKernel } from '../lab/kernel';
import { asTransaction, neighbours } from './neighbours';
import {
  backends,
  backendVpc,
  clear,
  missing,
  type Network,
  openNetwork,
  ruleset,
  testedBackends,
} from './network';

describe.each(backends)('packets on %s', (backend) => {
  describeKernel('from a pod to the peer', missing(backend), () => {
    let network: Network;
    beforeAll(async () => {
      network = await openNetwork(backend);
    });
    afterEach(() => clear(network));
    afterAll(() => network.lab.close());

    test("are dropped by the router before apply, and have the node's address after apply, in both families", async () => {
      const seen = () => Promise.all([network.sourceSeen(), network.sourceSeen('fd00:193::3')]);
      expect(await seen()).toEqual(['dropped', 'dropped']);
      const applied = { code: 0, result: 'applied', proven: true, backend };
      expect(await network.apply(backendVpc(1))).toMatchObject(applied);
      expect(await network.sourceSeen()).toBe('10.209.0.2');
      const six = ['source fd00:132::/32', 'exempt fd00:132::/32 pods', 'masquerade fd00:193::/32 six'];
      expect(await network.apply(ruleset(2, ...six))).toMatchObject(applied);
      expect(await network.sourceSeen('fd00:193::3')).toBe('fd00:209::2');
    });

    if (testedBackends.includes(backend)) {
      test('reach the peer after apply even if their connection hung before', async () => {
        const nat = backend === 'nft' ? 'iptables-nft' : backend;
        await network.node.run([`${nat}-restore`, '--noflush'], {
          stdin: asTransaction(...neighbours.kubenet),
        });
        const flows = network.node.spawn(['conntrack', '-E', '-e', 'NEW', '-d', '10.193.0.3']);
        const hanging = network.pod.spawn(['curl', '-s', '--max-time', '8', 'http://10.193.0.3:8080/']);
        await flows.output(/UNREPLIED/);
        expect(await network.apply(backendVpc())).toMatchObject({ flushed: 1 });
        expect(await hanging.ended).toMatchObject({ code: 0, stdout: '10.209.0.2\n' });
      });

      test('are masqueraded without a gap while rules are being replaced', async () => {
        await network.apply(backendVpc(1));
        const sender = network.pod.spawn(['perl', join(__dirname, 'send-datagrams.pl'), '9', '10.193.0.3']);
        await sender.output(/sending/);
        const dropped = () => network.router.run(['nft', 'list', 'counter', 'inet', 'router', 'dropped']);
        const before = await dropped();
        for (let generation = 2; generation < 8; generation++) {
          const more = Array.from(
            { length: generation % 2 ? 5 : 60 },
            (_, i) => `masquerade 10.1.${i}.0/24 more`,
          );
          const text = ruleset(generation, 'source 10.132.0.0/14', 'masquerade 10.193.0.0/16 a', ...more);
          expect(await network.apply(text)).toMatchObject({ result: 'applied', proven: true });
        }
        expect(await dropped()).toBe(before);
        await sender.stop();
      });

      test('are masqueraded exactly as required by generated rule sets', async () => {
        await network.router.run(['nft', 'flush', 'ruleset']);
        for (const range of ['10.133.0.0/16', '10.140.0.0/16']) {
          await network.pod.run(['ip', 'route', 'add', 'local', range, 'dev', 'lo']);
        }
        let generation = 0;
        await fc.assert(
          fc.asyncProperty(
            anyRuleset,
            fc.array(anyPacket, { minLength: 20, maxLength: 40 }),
            async (ranges, packets) => {
              generation += 1;
              const report = await network.apply(ruleset(generation, ...linesOf(ranges)));
              expect({ reason: undefined, ...report }).toMatchObject({
                code: 0,
                proven: true,
                reason: undefined,
              });
              await network.node.run(['conntrack', '-F']);
              const sent = packets.map(
                ([from, to], i) => `${printed(from)} ${printed(to)} ${generation}-${i}`,
              );
              sent.push(`10.133.0.1 10.193.0.3 ${generation}-last`);
              const argv = ['perl', join(__dirname, 'send-datagrams.pl'), '8080'];
              await network.pod.run(argv, { stdin: sent.join('\n') });
              await network.service.output(new RegExp(`udp \\S+ ${generation}-last\\n`));
              const seen = packets.map(
                (_, i) => new RegExp(`udp (\\S+) ${generation}-${i}\\n`).exec(network.service.stdout())?.[1],
              );
              expect(seen).toEqual(
                packets.map(([from, to]) => (isMasqueraded(ranges, from, to) ? '10.209.0.2' : printed(from))),
              );
            },
          ),
          { numRuns: 5, endOnFailure: true },
        );
      });
    }
  });
});

type Range = { first: number; length: number };
type RuleSetRanges = { sources: Range[]; exempt: Range[]; masquerade: Range[] };

const printed = (address: number) => [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join('.');
const text = ({ first, length }: Range) => `${printed(first)}/${length}`;
const holds = ({ first, length }: Range, address: number) => (first ^ address) >>> (32 - length) === 0;

const isMasqueraded = ({ sources, exempt, masquerade }: RuleSetRanges, from: number, to: number) =>
  (sources.length === 0 || sources.some((range) => holds(range, from))) &&
  !exempt.some((range) => holds(range, to)) &&
  masquerade.some((range) => holds(range, to));

function linesOf({ sources, exempt, masquerade }: RuleSetRanges): string[] {
  const lines = [
    ...sources.map((range) => `source ${text(range)}`),
    ...exempt.map((range) => `exempt ${text(range)} e`),
    ...masquerade.map((range) => `masquerade ${text(range)} m`),
  ];
  return [...new Set(lines)];
}

const range = (base: number, lengths: { min: number; max: number }) =>
  fc.record({ within: fc.nat(0xfffff), length: fc.integer(lengths) }).map(({ within, length }) => ({
    first: (((base | within) >>> (32 - length)) << (32 - length)) >>> 0,
    length,
  }));

// Generates many short ranges within a small address space, so that ranges overlap and packets hit their edges.
const peerRange = range(0x0ac00000, { min: 13, max: 20 });
const manyRanges = fc.oneof(
  fc.array(peerRange, { maxLength: 8 }),
  fc.array(range(0x0ac00000, { min: 20, max: 28 }), { minLength: 55, maxLength: 80 }),
);
const anyRuleset: fc.Arbitrary<RuleSetRanges> = fc.record({
  sources: fc.array(fc.constantFrom({ first: 0x0a850000, length: 16 }, { first: 0x0a858000, length: 17 }), {
    maxLength: 2,
  }),
  exempt: manyRanges,
  masquerade: manyRanges,
});
const anyPacket = fc.tuple(
  fc
    .oneof(
      fc.nat(0xfffe),
      fc.nat(0xfffe).map((n) => n + 0x70000),
    )
    .map((n) => 0x0a850001 + n),
  fc.nat(0x7ffff).map((n) => 0x0ac20000 + n),
);
