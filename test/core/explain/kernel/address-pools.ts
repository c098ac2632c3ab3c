import type { Family } from '../../../../shared/core/explain/model';
import type { SeededRandom } from './random';
import { labAddresses, type SentPacket } from './lab';

/** The addresses that the rules and packets of one address family use. */
export interface AddressPool {
  readonly family: Family;
  readonly icmp: 'icmp' | 'icmpv6';
  readonly destinations: readonly string[];
  readonly cidrs: readonly string[];
  readonly sourceCidrs: readonly string[];
  readonly ranges: readonly string[];
  readonly types: readonly string[];
  readonly snat: readonly string[];
  readonly dnat: readonly string[];
}

export const addressPools: Readonly<Record<Family, AddressPool>> = {
  4: {
    family: 4,
    icmp: 'icmp',
    destinations: [
      '10.193.0.3',
      '10.193.7.9',
      '10.50.0.5',
      '10.50.3.1',
      '10.8.0.1',
      '8.8.8.8',
      '203.0.113.7',
      '172.31.0.9',
    ],
    cidrs: [
      '10.0.0.0/8',
      '10.193.0.0/16',
      '10.193.0.3/32',
      '10.50.0.0/16',
      '10.50.0.0/22',
      '8.8.0.0/16',
      '203.0.113.0/24',
      '10.132.0.0/14',
      '10.209.0.0/16',
      '0.0.0.0/1',
      '128.0.0.0/1',
      '192.168.0.0/16',
      '172.16.0.0/12',
    ],
    sourceCidrs: [
      '10.132.0.0/24',
      '10.132.0.10/32',
      '10.209.0.0/16',
      '10.209.0.2/32',
      '192.168.50.0/24',
      '10.0.0.0/8',
    ],
    ranges: ['10.0.0.0-10.100.0.0', '10.193.0.0-10.193.0.9', '1.0.0.0-200.0.0.0'],
    types: ['LOCAL', 'LOCAL', 'UNICAST', 'BROADCAST,LOCAL', 'MULTICAST'],
    snat: [labAddresses[4].second, '198.51.100.7', '198.51.100.10-198.51.100.12'],
    dnat: ['10.50.0.5-10.50.0.6', labAddresses[4].node, '10.193.0.3'],
  },
  6: {
    family: 6,
    icmp: 'icmpv6',
    destinations: [
      'fd00:193::3',
      'fd00:193:7::9',
      'fd00:50::5',
      'fd00:50:3::1',
      'fd00:8::1',
      '2001:db8::8',
      '2001:db8:cafe::7',
    ],
    cidrs: [
      'fd00::/16',
      'fd00:193::/32',
      'fd00:193::3/128',
      'fd00:50::/32',
      'fd00:50::/48',
      '2001:db8::/32',
      '2001:db8:cafe::/64',
      'fd00:132::/32',
      'fd00:209::/64',
      '::/1',
      '8000::/1',
    ],
    sourceCidrs: ['fd00:132::/64', 'fd00:132::a/128', 'fd00:209::/64', 'fd00:209::2/128', 'fd00:192::/64'],
    ranges: ['fd00::-fd00:100::', 'fd00:193::-fd00:193::9', '2001::-fd00:150::'],
    types: ['LOCAL', 'LOCAL', 'UNICAST', 'MULTICAST'],
    snat: [labAddresses[6].second, '2001:db8:51::7', '2001:db8:51::10-2001:db8:51::12'],
    dnat: ['fd00:50::5-fd00:50::6', labAddresses[6].node, 'fd00:193::3'],
  },
};

export const ports = [53, 80, 443, 5432, 8080, 32191] as const;

/** Makes packets, each with its own source port or ICMP identifier. */
export function makePackets(
  random: SeededRandom,
  count: number,
  { family, destinations, icmp }: AddressPool,
): SentPacket[] {
  const { pod, node, second, other } = labAddresses[family];
  const used = new Set<number>();
  return Array.from({ length: count }, () => {
    let sourcePort: number;
    do sourcePort = 1100 + random.integerBelow(50_000);
    while (used.has(sourcePort));
    used.add(sourcePort);
    const isFromNode = random.chance(0.3);
    // For IPv6, the node has only one address on each device, so that the masquerade address is unambiguous.
    const own = family === 4 ? [node, node, second, other] : [node, node, other];
    return {
      protocol: random.chance(0.08) ? icmp : random.pick(['tcp', 'udp'] as const),
      source: isFromNode ? random.pick(own) : pod,
      sourcePort,
      isFromNode,
      destination: random.chance(0.05) ? random.pick([node, other]) : random.pick(destinations),
      destinationPort: random.pick(ports),
    };
  });
}
