import { ports, type AddressPool } from './address-pools';
import type { SeededRandom } from './random';

const interfaces = ['eth0', 'eth1', 'cbr0', 'eth+', 'c+', 'lo', 'wlan0'] as const;
const marks = [
  '0x1',
  '0x4000/0x4000',
  '0x0/0x4000',
  '0x80/0x80',
  '0x3/0xf',
  '0x0',
  '0x8/0xc',
  '0x5/0x5',
  '0x1/0x7',
  '0x0/0x80',
] as const;

/** Returns `! `, which negates a match, or an empty string, at random. */
export const not = (random: SeededRandom) => (random.chance(0.3) ? '! ' : '');

/** The values from which a random match is generated. */
export interface MatchScope {
  readonly pool: AddressPool;
  readonly chain: string;
  readonly sets: readonly string[];
}

/** @returns a random match, or an empty string */
export function makeMatch(
  random: SeededRandom,
  { chain, sets, pool }: MatchScope,
  protocol: string | undefined,
): string {
  const hasIn = !['POSTROUTING', 'OUTPUT'].includes(chain);
  const hasOut = chain !== 'PREROUTING';
  switch (random.integerBelow(17)) {
    case 0:
    case 1:
      return `${not(random)}-d ${random.pick(pool.cidrs)}`;
    case 2:
      return `${not(random)}-s ${random.pick(pool.sourceCidrs)}`;
    case 3:
      return hasOut ? `${not(random)}-o ${random.pick(interfaces)}` : '';
    case 4:
      return hasIn ? `${not(random)}-i ${random.pick(interfaces)}` : '';
    case 5:
    case 6:
      return makeTransportMatch(random, protocol);
    case 7:
    case 8:
      return `-m mark ${not(random)}--mark ${random.pick(marks)}`;
    case 9:
      return `-m connmark ${not(random)}--mark ${random.pick(marks)}`;
    case 10:
      return makeAddrtype(random, chain, pool);
    case 11:
    case 12:
      return makeSetMatch(random, sets);
    case 13:
      return `-m conntrack ${not(random)}--ctstate ${random.pick(['NEW', 'ESTABLISHED', 'RELATED,ESTABLISHED', 'DNAT', 'NEW,INVALID', 'UNTRACKED'])}`;
    case 14:
      return `-m iprange ${not(random)}--dst-range ${random.pick(pool.ranges)}`;
    case 15:
      return '-m comment --comment "a \\"quoted\\" -j remark"';
    default:
      return random.pick([
        '-m statistic --mode random --probability 1',
        '-m statistic --mode random --probability 0.5',
        '-m limit --limit 5/sec',
        '',
      ]);
  }
}

function makeTransportMatch(random: SeededRandom, protocol: string | undefined): string {
  if (protocol === undefined) return '';
  if (protocol === 'icmp')
    return `-m icmp ${not(random)}--icmp-type ${random.pick(['8', '8/0', '0', '3/1'])}`;
  if (protocol === 'icmpv6') return `-m icmp6 ${not(random)}--icmpv6-type ${random.pick(['128', '129'])}`;
  const flags = ['FIN,SYN,RST,ACK SYN', 'SYN NONE', 'ACK,URG ACK'];
  return random.pick([
    `-m ${protocol} ${not(random)}--dport ${makePortRange(random)}`,
    `-m multiport ${not(random)}--${random.pick(['dports', 'sports', 'ports'])} ${random.pick(ports)},${makePortRange(random)}`,
    `-m multiport ${not(random)}--dports ${random.some(ports, 0.6).join(',') || '80,443'}`,
    `-m ${protocol} ${not(random)}--sport ${random.pick(['1024:30000', '30000:', ':2000'])}`,
    ...(protocol === 'tcp' ? [`-m tcp ${not(random)}--tcp-flags ${random.pick(flags)}`] : []),
  ]);
}

const makePortRange = (random: SeededRandom) => {
  const port = random.pick(ports);
  return random.chance(0.3) ? `${port}:${port + 1 + random.integerBelow(9000)}` : String(port);
};

function makeAddrtype(random: SeededRandom, chain: string, { types }: AddressPool): string {
  const limit = /^(POSTROUTING|S\d)$/.test(chain) && random.chance(0.2) ? ' --limit-iface-out' : '';
  return `-m addrtype ${not(random)}--${random.pick(['dst', 'dst', 'src'])}-type ${random.pick(types)}${limit}`;
}

function makeSetMatch(random: SeededRandom, sets: readonly string[]): string {
  const name = random.pick(sets);
  const flags = /^(port|pair)/.test(name) ? 'dst,dst' : random.pick(['dst', 'dst', 'src']);
  return `-m set ${not(random)}--match-set ${name} ${flags}`;
}
