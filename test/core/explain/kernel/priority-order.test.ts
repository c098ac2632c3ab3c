import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { explain } from '../../../../shared/core/explain/explain';
import { parseSnapshot } from '../../../../shared/core/explain/parse/snapshot';
import { describeKernel } from '../../../lab/kernel';
import { packetOf, printDump } from './compare';
import { type ExplainLab, packetKeyOf, openExplainLab, labAddresses, type SentPacket } from './lab';

const { pod, node, second } = labAddresses[4];

const own = (name: string, ...chain: readonly string[]) =>
  `table ip ${name}; delete table ip ${name}; table ip ${name} { chain c { ${chain.join('; ')}; }; }`;
const nftRule = (rule: string) => ['nft', own('own', 'type nat hook postrouting priority 100', rule)];
const legacyRule = (...rule: readonly string[]) => [
  'sh',
  '-ec',
  'iptables-legacy -t nat -F POSTROUTING; iptables-legacy -t nat -A POSTROUTING "$@"',
  '-',
  ...rule,
];
const marking = ['nft', own('marking', 'type filter hook postrouting priority 100', 'meta mark set 1')];
const cleanUp = ['nft', 'delete table ip marking; delete table ip own'];

/**
 * The steps run in this order on one node, because table nat of iptables-legacy is registered at its first use and
 * stays registered. Of two chains with the same priority, the chain that was registered last runs first. An ACCEPT
 * ends only its own chain.
 */
const steps = [
  [
    'a nat chain is registered before a chain that marks packets',
    [nftRule('meta mark 1 masquerade'), marking],
    node,
  ],
  [
    'a chain that marks packets is registered before a nat chain',
    [cleanUp, marking, nftRule('meta mark 1 masquerade')],
    pod,
  ],
  [
    'nft is registered before iptables-legacy',
    [nftRule(`snat to ${second}`), legacyRule('-j', 'MASQUERADE')],
    node,
  ],
  ['iptables-legacy is registered before nft', [nftRule(`snat to ${second}`)], second],
  ['iptables-legacy is registered before an accept in nft', [nftRule('accept')], node],
  [
    'an accept in iptables-legacy is registered before nft',
    [legacyRule('-j', 'ACCEPT'), nftRule('masquerade')],
    node,
  ],
  [
    'iptables-legacy is registered before an accept in iptables-nft',
    [
      ['nft', 'delete table ip own'],
      legacyRule('-j', 'MASQUERADE'),
      ['iptables-nft', '-t', 'nat', '-A', 'POSTROUTING', '-j', 'ACCEPT'],
    ],
    node,
  ],
] as const;

describeKernel(
  'the kernel runs chains with the same priority in reverse order of registration:',
  undefined,
  () => {
    let lab: ExplainLab;
    beforeAll(async () => {
      lab = await openExplainLab();
    });
    afterAll(() => lab.close());

    test.each(steps.map(([title, commands, expected], index) => ({ title, commands, expected, index })))(
      '$title',
      async ({ commands, expected, index }) => {
        await lab.onNode([...commands, ['conntrack', '-F']].map((argv) => ({ argv })));
        const packet: SentPacket = {
          protocol: 'tcp',
          source: pod,
          sourcePort: 20_000 + index,
          isFromNode: false,
          destination: '8.8.8.8',
          destinationPort: 443,
        };
        await lab.send([packet]);
        expect((await lab.received()).get(packetKeyOf(packet))).toBe(expected);
        const dump = await printDump(lab, { family: 4, kind: 'nft and iptables' });
        expect(explain(parseSnapshot(dump), packetOf(packet)).sources).toContain(expected);
      },
    );
  },
);
