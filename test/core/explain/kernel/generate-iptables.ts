import type { SeededRandom } from './random';
import { ports, type AddressPool } from './address-pools';

const interfaces = ['eth0', 'eth1', 'cbr0', 'eth+', 'c+', 'lo', 'wlan0'] as const;
const marks = [
  ...['0x1', '0x4000/0x4000', '0x0/0x4000', '0x80/0x80', '0x3/0xf'],
  ...['0x0', '0x8/0xc', '0x5/0x5', '0x1/0x7', '0x0/0x80'],
] as const;

/** Chains that the kernel calls, with the user chains that they may share: NAT is not allowed everywhere. */
const tables = {
  raw: [{ baseChains: ['PREROUTING', 'OUTPUT'], userChains: ['R1', 'R2'] }],
  mangle: [
    { baseChains: ['PREROUTING', 'FORWARD', 'OUTPUT', 'POSTROUTING'], userChains: ['M1', 'M2', 'M3'] },
  ],
  nat: [
    { baseChains: ['PREROUTING', 'OUTPUT'], userChains: ['D1', 'D2', 'D3'] },
    { baseChains: ['POSTROUTING'], userChains: ['S1', 'S2', 'S3', 'S4'] },
  ],
  filter: [{ baseChains: ['FORWARD', 'OUTPUT'], userChains: ['F1', 'F2'] }],
} as const;
type IptablesTable = keyof typeof tables;
const names = Object.keys(tables) as IptablesTable[];

export interface SetNames {
  readonly net: string;
  readonly ip: string;
  readonly port: string;
  readonly list: string;
  readonly pair: string;
}

/** First that which holds others: in this order they can be destroyed. */
export const setNames = (id: number): SetNames => ({
  ...{ list: `list${id}`, net: `net${id}`, ip: `ip${id}`, port: `port${id}`, pair: `pair${id}` },
});

/** As `ipset restore` takes them. */
export function makeSets(
  random: SeededRandom,
  { family, cidrs, destinations }: AddressPool,
  sets: SetNames,
): string {
  const of = family === 4 ? 'family inet' : 'family inet6';
  const service = () => `${random.pick(['tcp', 'udp'])}:${random.pick(ports)}`;
  const lines = [
    `create ${sets.net} hash:net ${of}`,
    ...random.some(cidrs).map((cidr) => `add ${sets.net} ${cidr}${random.chance(0.2) ? ' nomatch' : ''}`),
    `create ${sets.ip} hash:ip ${of}`,
    ...random.some(destinations).map((address) => `add ${sets.ip} ${address}`),
    `create ${sets.port} hash:ip,port ${of}`,
    ...random.some(destinations).map((address) => `add ${sets.port} ${address},${service()}`),
    `create ${sets.pair} hash:net,port ${of}`,
    ...random.some(cidrs).map((cidr) => `add ${sets.pair} ${cidr},${service()}`),
    `create ${sets.list} list:set`,
    ...random.some([sets.net, sets.ip]).map((name) => `add ${sets.list} ${name}`),
  ];
  return `${lines.join('\n')}\n`;
}

/** A policy outlives the rules. */
const emptyTable = (name: IptablesTable) =>
  `*${name}\n${name === 'filter' ? ':FORWARD ACCEPT [0:0]\n' : ''}COMMIT\n`;

export const emptyTables = names.map(emptyTable).join('');

const sizes = { raw: 0.15, mangle: 0.6, nat: 1, filter: 0.25 } as const;

/** Every table, as iptables-restore takes them. */
export function makeTables(random: SeededRandom, pool: AddressPool, sets: SetNames): string {
  const patterns = random.some(makePatterns(random, pool), 0.3);
  const linesOf = (table: IptablesTable) => patterns.flatMap((pattern) => pattern[table] ?? []);
  return names
    .map((table) => {
      const first = linesOf(table);
      const isEmpty = first.length === 0 && !random.chance(sizes[table]);
      return isEmpty ? emptyTable(table) : makeTable(random, pool, table, Object.values(sets), first);
    })
    .join('');
}

type Pattern = Partial<Record<IptablesTable, readonly string[]>>;

/** What real nodes do, each a way in which all depends on one feature: random rules alone seldom come to it. */
function makePatterns(random: SeededRandom, { cidrs }: AddressPool): Pattern[] {
  const some = () => `${not(random)}-d ${random.pick(cidrs)}`;
  return [
    // kube-proxy: other bits of the mark are none of its business.
    {
      mangle: [`-A PREROUTING ${some()} -j MARK --or-mark 0x4005`, '-A OUTPUT -j MARK --set-xmark 0x2/0xf'],
      nat: [
        '-A POSTROUTING -m mark --mark 0x4000/0x4000 -j MASQUERADE',
        `-A POSTROUTING ${some()} -m mark ! --mark 0x2/0x2 -j RETURN`,
      ],
    },
    // VPC CNI: the mark of the connection, back on the packet.
    {
      mangle: [
        `-A PREROUTING ${some()} -j CONNMARK --set-xmark 0x80/0x80`,
        '-A OUTPUT -j CONNMARK --set-xmark 0x85/0xff',
        '-A POSTROUTING -j CONNMARK --restore-mark --nfmask 0x80 --ctmask 0x80',
      ],
      nat: ['-A POSTROUTING -m mark ! --mark 0x80/0x80 -j ACCEPT', `-A POSTROUTING ${some()} -j MASQUERADE`],
    },
    { nat: [`-A POSTROUTING ${some()} -g S1`, `-A POSTROUTING ${some()} -j MASQUERADE`] },
    {
      nat: ['tcp', 'udp'].map(
        (protocol) =>
          `-A POSTROUTING ${some()} -p ${protocol} -m multiport ${not(random)}--dports 53,80:443,8080,32191 -j MASQUERADE`,
      ),
    },
    { filter: [`-A FORWARD ${some()} -j RETURN`, '-A FORWARD -j ACCEPT'] },
  ];
}

function makeTable(
  random: SeededRandom,
  pool: AddressPool,
  table: IptablesTable,
  sets: readonly string[],
  first: readonly string[],
): string {
  const heads: string[] = [];
  const lines = [...first];
  for (const { baseChains, userChains } of tables[table]) {
    // A RETURN from a chain that the kernel calls is no ACCEPT where the policy is another.
    const policyOf = (chain: string) => (chain === 'FORWARD' && first.length > 0 ? 'DROP' : 'ACCEPT');
    heads.push(
      ...baseChains.map((chain) => `:${chain} ${table === 'filter' ? policyOf(chain) : 'ACCEPT'} [0:0]`),
      ...userChains.map((chain) => `:${chain} - [0:0]`),
    );
    const fill = (chain: string, count: number, callable: readonly string[]) => {
      const chainContext = { ...{ table, chain, sets, callable }, pool };
      for (let made = 0; made < count; made++) lines.push(makeRule(random, chainContext));
    };
    for (const chain of baseChains)
      fill(chain, chain === 'POSTROUTING' ? 2 + random.integerBelow(6) : random.integerBelow(3), userChains);
    for (const [index, chain] of userChains.entries())
      fill(chain, random.integerBelow(5), userChains.slice(index + 1));
  }
  return [`*${table}`, ...heads, ...lines, 'COMMIT', ''].join('\n');
}

interface IptablesChainContext {
  readonly pool: AddressPool;
  readonly table: IptablesTable;
  readonly chain: string;
  readonly sets: readonly string[];
  readonly callable: readonly string[];
}

function makeRule(random: SeededRandom, chainContext: IptablesChainContext): string {
  const { chain, pool } = chainContext;
  const count = random.pick([0, 1, 1, 1, 1, 2, 2, 3]);
  const protocol = random.chance(0.35) ? random.pick(['tcp', 'udp', 'tcp', 'udp', pool.icmp]) : undefined;
  const matches = Array.from({ length: count }, () => makeMatch(random, chainContext, protocol));
  // iptables takes some of them once, some modules of iptables-nft too.
  const optionOf = (match: string) => /(^|! )(-[sdio]|-m \S+) /.exec(match)?.[2] ?? match;
  const unique = new Map(matches.map((match) => [optionOf(match), match])).values();
  return [
    '-A',
    chain,
    ...(protocol ? [`-p ${protocol}`] : []),
    ...unique,
    makeTarget(random, chainContext, protocol),
  ]
    .filter((word) => word !== '')
    .join(' ');
}

const not = (random: SeededRandom) => (random.chance(0.3) ? '! ' : '');

function makeMatch(
  random: SeededRandom,
  { chain, sets, pool }: IptablesChainContext,
  protocol: string | undefined,
): string {
  const mayIn = !['POSTROUTING', 'OUTPUT'].includes(chain);
  const mayOut = chain !== 'PREROUTING';
  switch (random.integerBelow(17)) {
    case 0:
    case 1:
      return `${not(random)}-d ${random.pick(pool.cidrs)}`;
    case 2:
      return `${not(random)}-s ${random.pick(pool.sourceCidrs)}`;
    case 3:
      return mayOut ? `${not(random)}-o ${random.pick(interfaces)}` : '';
    case 4:
      return mayIn ? `${not(random)}-i ${random.pick(interfaces)}` : '';
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

function makeTarget(
  random: SeededRandom,
  chainContext: IptablesChainContext,
  protocol: string | undefined,
): string {
  const { table, callable } = chainContext;
  const calls =
    callable.length > 0
      ? [`-j ${random.pick(callable)}`, `-j ${random.pick(callable)}`, `-g ${random.pick(callable)}`]
      : [];
  const terminalTargets = ['-j RETURN', '-j RETURN', '-j ACCEPT'];
  switch (table) {
    case 'raw':
      return random.pick([...calls, ...terminalTargets, '-j CT --notrack', '-j LOG']);
    case 'filter':
      return random.pick([...calls, ...terminalTargets, '-j DROP', '-j ACCEPT', '-j LOG']);
    case 'mangle':
      return random.pick([...calls, ...terminalTargets, ...marking, ...marking, '-j LOG']);
    case 'nat':
      return random.pick([
        ...calls,
        ...calls,
        ...terminalTargets,
        '-j LOG',
        '',
        ...translations(random, chainContext, protocol),
      ]);
  }
}

const marking = [
  ...['-j MARK --set-mark 0x1', '-j MARK --set-xmark 0x4000/0x4000', '-j MARK --or-mark 0x8'],
  ...['-j MARK --and-mark 0xff', '-j MARK --xor-mark 0x5', '-j MARK --set-mark 0x3/0xf'],
  ...['-j CONNMARK --set-mark 0x80/0x80', '-j CONNMARK --set-xmark 0x1'],
  ...['-j CONNMARK --save-mark', '-j CONNMARK --restore-mark'],
  '-j CONNMARK --save-mark --nfmask 0xff --ctmask 0xfff',
  '-j CONNMARK --restore-mark --nfmask 0xf0 --ctmask 0xf0',
];

function translations(
  random: SeededRandom,
  { chain, pool }: IptablesChainContext,
  protocol: string | undefined,
): string[] {
  const masquerade = '-j MASQUERADE';
  if (/^(POSTROUTING|S\d)$/.test(chain)) {
    const snats = pool.snat.map((to) => `-j SNAT --to-source ${to}`);
    return [masquerade, masquerade, masquerade, ...snats];
  }
  const hasPorts = protocol === 'tcp' || protocol === 'udp';
  const to = random.pick(pool.destinations);
  const withPort = pool.family === 4 ? `${to}:8080` : `[${to}]:8080`;
  return [
    `-j DNAT --to-destination ${hasPorts && random.chance(0.3) ? withPort : to}`,
    `-j DNAT --to-destination ${random.pick(pool.dnat)}`,
    ...(hasPorts ? ['-j REDIRECT --to-ports 8080'] : []),
  ];
}
