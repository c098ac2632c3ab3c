import type { AddressPool } from './address-pools';
import type { Family } from '../../../../shared/core/explain/model';
import { labAddresses } from './lab';
import type { SeededRandom } from './random';

/** Shell commands that add routing rules and routes to a node with `noRouting`. Some may fail, which has no effect. */
export type RoutingScript = string;

const tables = [101, 102, 103] as const;
const marks = ['0x4000/0x4000', '0x80/0x80', '0x1/0xf', '0x5', '0x8/0x8', '0/0x1', '0x3'] as const;
const actions = ['lookup 101', 'lookup 102', 'lookup 103', 'lookup main'] as const;

const gateways: Readonly<Record<Family, readonly (readonly [device: string, address: string])[]>> = {
  4: [
    ['eth0', '10.209.0.1'],
    ['eth0', '172.31.0.1'],
    ['eth1', '192.168.50.1'],
    ['eth2', '192.168.60.1'],
  ],
  6: [
    ['eth0', 'fd00:209::1'],
    ['eth1', 'fd00:192::1'],
    ['eth2', 'fd00:196::1'],
  ],
};

/** Removes all routing rules and tables that a script may have added. */
export const noRouting: RoutingScript = [4, 6]
  .flatMap((family) => [
    `ip -${family} rule flush`,
    `ip -${family} rule add pref 0 lookup local`,
    `ip -${family} rule add pref 32766 lookup main`,
    ...(family === 4 ? ['ip -4 rule add pref 32767 lookup default'] : []),
    ...tables.map((table) => `ip -${family} route flush table ${table}`),
  ])
  .join('\n');

/** Makes policy routing of a node: rules with every selector that the lab can use, and tables with routes of all types. */
export function makeRouting(random: SeededRandom, pool: AddressPool): RoutingScript {
  const ip = `ip -${pool.family}`;
  const routes = tables.flatMap((table) =>
    Array.from(
      { length: 1 + random.integerBelow(4) },
      () => `${ip} route add ${makeRoute(random, pool)} table ${table}`,
    ),
  );
  const priorities = [100, 200, 300, 400, 500, 600];
  const rules = priorities.slice(0, 1 + random.integerBelow(priorities.length)).map((priority) => {
    const selectors = makeSelectors(random, pool);
    return `${ip} rule add pref ${priority} ${selectors.join(' ')} ${makeAction(random, priorities)}`;
  });
  // The VPC CNI does the same for pods with security groups.
  const moves = random.chance(0.15)
    ? [`${ip} rule add pref 450 lookup local`, `${ip} rule del pref 0 lookup local`]
    : [];
  return [noRouting, ...routes, ...rules, ...moves].join('\n');
}

function makeRoute(random: SeededRandom, { family, cidrs }: AddressPool): string {
  const to = random.chance(0.5) ? 'default' : random.pick(cidrs);
  const metric = random.chance(0.2) ? ` metric ${random.pick([50, 2000])}` : '';
  if (random.chance(0.2))
    return `${random.pick(['throw', 'throw', 'blackhole', 'unreachable', 'prohibit'])} ${to}`;
  const [device, address] = random.pick(gateways[family]);
  return `${to} via ${address} dev ${device}${metric}`;
}

function makeSelectors(random: SeededRandom, pool: AddressPool): string[] {
  const { pod, node } = labAddresses[pool.family];
  const selectors = [
    () => `from ${random.pick([...pool.sourceCidrs, pod, node])}`,
    () => `to ${random.pick(pool.cidrs)}`,
    () => `to ${random.pick(pool.cidrs)}`,
    () => `fwmark ${random.pick(marks)}`,
    () => `fwmark ${random.pick(marks)}`,
    () => `iif ${random.pick(['cbr0', 'cbr0', 'eth0', 'lo', 'vlan9'])}`,
    () => `oif ${random.pick(['eth1', 'eth2'])}`,
    () => `ipproto ${random.pick(['tcp', 'udp'])}`,
    () => `ipproto ${random.pick(['tcp', 'udp'])} dport ${random.pick(['443', '8000-40000'])}`,
    () => 'uidrange 0-1000',
  ];
  const count = random.pick([0, 1, 1, 1, 2]);
  const chosen = Array.from({ length: count }, () => random.pick(selectors)());
  const unique = new Map(chosen.map((selector) => [selector.split(' ')[0], selector]));
  return [...(count > 0 && random.chance(0.2) ? ['not'] : []), ...unique.values()];
}

function makeAction(random: SeededRandom, priorities: readonly number[]): string {
  if (random.chance(0.1)) return random.pick(['blackhole', 'unreachable', 'prohibit']);
  if (random.chance(0.1)) return `goto ${random.pick(priorities)}`;
  const suppressed = random.chance(0.25) ? ` suppress_prefixlength ${random.pick([0, 8, 16])}` : '';
  return `${random.pick(actions)}${suppressed}`;
}
