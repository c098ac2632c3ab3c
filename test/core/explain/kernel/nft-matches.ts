import { ports, type AddressPool } from './address-pools';
import type { SeededRandom } from './random';

/** The values from which a random match is generated. */
export interface MatchScope {
  readonly pool: AddressPool;
  readonly kind: string;
  readonly chain: string;
  readonly isInet: boolean;
}

export const ipOf = ({ family }: AddressPool) => (family === 4 ? 'ip' : 'ip6');

const not = (random: SeededRandom) => (random.chance(0.3) ? '!= ' : '');

/** @returns a random match, or an empty string */
export function makeMatch(random: SeededRandom, { pool, kind, chain, isInet }: MatchScope): string {
  const ip = ipOf(pool);
  const hasIn = /_pre$|^forward$|^F/.test(chain);
  const hasOut = /^(forward|early|post|mark_post|F\d|S\d)$/.test(chain);
  switch (random.integerBelow(14)) {
    case 0:
    case 1:
      return `${ip} daddr ${not(random)}${makeAddresses(random, pool)}`;
    case 2:
      return `${ip} saddr ${not(random)}${random.pick(pool.sourceCidrs)}`;
    case 3:
      return hasOut ? `oifname ${not(random)}${random.pick(interfaces)}` : '';
    case 4:
      return hasIn ? `iifname ${not(random)}${random.pick(interfaces)}` : '';
    case 5:
    case 6:
      return random.pick(portMatches(random));
    case 7:
    case 8:
      return makeMarkMatch(random, random.pick(['meta', 'meta', 'ct']));
    case 9:
      return makeFib(random, hasOut && kind === 'snat' ? ' . oif' : '');
    case 10:
      return kind === 'raw'
        ? ''
        : random.pick([
            'ct state new',
            'ct state != new',
            'ct state established,related',
            'ct state { new, invalid }',
            'ct status dnat',
            'ct direction original',
            'ct state untracked',
          ]);
    case 11:
      return `${ip} daddr . ${random.pick(['tcp', 'udp', 'th'])} dport ${not(random)}@services`;
    case 12:
      return random.pick([
        `meta l4proto ${not(random)}${random.pick(['tcp', 'udp', '{ tcp, udp }', pool.icmp === 'icmp' ? 'icmp' : 'ipv6-icmp'])}`,
        `${pool.icmp} type ${not(random)}${random.pick(['echo-request', 'echo-reply'])}`,
        ...(isInet ? [`meta nfproto ipv${pool.family}`] : []),
      ]);
    default:
      return random.pick(['numgen random mod 2 0', 'limit rate 5/second', '', '']);
  }
}

const interfaces = [
  '"eth0"',
  '"eth1"',
  '"cbr0"',
  '"eth*"',
  '"c*"',
  '"lo"',
  '{ "eth1", "wlan0" }',
  '{ "eth0", "eth1" }',
] as const;

const makeAddresses = (random: SeededRandom, { cidrs, destinations, ranges }: AddressPool) =>
  random.pick([
    random.pick(cidrs),
    random.pick(cidrs),
    random.pick(ranges),
    random.pick(destinations),
    '@nets',
    '@nets',
    '@hosts',
    `{ ${random.some(destinations, 0.5).join(', ') || destinations.join(', ')} }`,
  ]);

export function portMatches(random: SeededRandom): string[] {
  const carrier = random.pick(['tcp', 'udp', 'th']);
  const some = random.some(ports, 0.5).join(', ') || '80, 443';
  const protocols = carrier === 'th' ? 'meta l4proto { tcp, udp } ' : '';
  return [
    `${protocols}${carrier} dport ${not(random)}${random.pick(ports)}`,
    `${protocols}${carrier} dport ${not(random)}{ ${some} }`,
    `${protocols}${carrier} dport ${not(random)}@ports`,
    `${protocols}${carrier} dport ${not(random)}80-6000`,
    `${protocols}${carrier} sport ${random.pick(['< 20000', '>= 20000', '!= 1024-30000', '> 40000'])}`,
  ];
}

const makeMarkMatch = (random: SeededRandom, source: string) =>
  random.pick([
    `${source} mark ${not(random)}${random.pick(['0x1', '0x0', '{ 0x1, 0x5 }', '0x0-0x8'])}`,
    `${source} mark & 0x4000 ${random.pick(['==', '!='])} 0x4000`,
    `${source} mark & 0x80 == 0x80`,
    `${source} mark & 0x7 ${random.pick(['==', '!='])} 0x1`,
  ]);

/**
 * Makes a fib match.
 * @param limit ` . oif` if the chain may limit the match to the outgoing interface
 */
function makeFib(random: SeededRandom, limit: string): string {
  const side = random.pick(['daddr', 'daddr', 'saddr']);
  const suffix = limit !== '' && side === 'daddr' && random.chance(0.2) ? limit : '';
  return `fib ${side}${suffix} type ${not(random)}${random.pick(['local', 'local', 'unicast', '{ local, broadcast }'])}`;
}
