import type { Dice } from './dice';
import { ports, type Vocabulary } from './vocabulary';

const interfaces = ['eth0', 'eth1', 'cbr0', 'eth+', 'c+', 'lo', 'wlan0'] as const;
const marks = [
  ...['0x1', '0x4000/0x4000', '0x0/0x4000', '0x80/0x80', '0x3/0xf'],
  ...['0x0', '0x8/0xc', '0x5/0x5', '0x1/0x7', '0x0/0x80'],
] as const;

/** Chains that the kernel calls, with the user chains that they may share: NAT is not allowed everywhere. */
const tables = {
  raw: [{ roots: ['PREROUTING', 'OUTPUT'], user: ['R1', 'R2'] }],
  mangle: [{ roots: ['PREROUTING', 'FORWARD', 'OUTPUT', 'POSTROUTING'], user: ['M1', 'M2', 'M3'] }],
  nat: [
    { roots: ['PREROUTING', 'OUTPUT'], user: ['D1', 'D2', 'D3'] },
    { roots: ['POSTROUTING'], user: ['S1', 'S2', 'S3', 'S4'] },
  ],
  filter: [{ roots: ['FORWARD', 'OUTPUT'], user: ['F1', 'F2'] }],
} as const;
type TableName = keyof typeof tables;
const names = Object.keys(tables) as TableName[];

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
export function makeSets(dice: Dice, { family, ranges, destinations }: Vocabulary, sets: SetNames): string {
  const of = family === 4 ? 'family inet' : 'family inet6';
  const service = () => `${dice.pick(['tcp', 'udp'])}:${dice.pick(ports)}`;
  const lines = [
    `create ${sets.net} hash:net ${of}`,
    ...dice.some(ranges).map((range) => `add ${sets.net} ${range}${dice.chance(0.2) ? ' nomatch' : ''}`),
    `create ${sets.ip} hash:ip ${of}`,
    ...dice.some(destinations).map((address) => `add ${sets.ip} ${address}`),
    `create ${sets.port} hash:ip,port ${of}`,
    ...dice.some(destinations).map((address) => `add ${sets.port} ${address},${service()}`),
    `create ${sets.pair} hash:net,port ${of}`,
    ...dice.some(ranges).map((range) => `add ${sets.pair} ${range},${service()}`),
    `create ${sets.list} list:set`,
    ...dice.some([sets.net, sets.ip]).map((name) => `add ${sets.list} ${name}`),
  ];
  return `${lines.join('\n')}\n`;
}

/** A policy outlives the rules. */
const emptyTable = (name: TableName) =>
  `*${name}\n${name === 'filter' ? ':FORWARD ACCEPT [0:0]\n' : ''}COMMIT\n`;

export const emptied = names.map(emptyTable).join('');

const sizes = { raw: 0.15, mangle: 0.6, nat: 1, filter: 0.25 } as const;

/** Every table, as iptables-restore takes them. */
export function makeTables(dice: Dice, words: Vocabulary, sets: SetNames): string {
  const patterns = dice.some(makePatterns(dice, words), 0.3);
  const linesOf = (table: TableName) => patterns.flatMap((pattern) => pattern[table] ?? []);
  return names
    .map((table) => {
      const first = linesOf(table);
      const isEmpty = first.length === 0 && !dice.chance(sizes[table]);
      return isEmpty ? emptyTable(table) : makeTable(dice, words, table, Object.values(sets), first);
    })
    .join('');
}

type Pattern = Partial<Record<TableName, readonly string[]>>;

/** What real nodes do, each a way in which all depends on one feature: random rules alone seldom come to it. */
function makePatterns(dice: Dice, { ranges }: Vocabulary): Pattern[] {
  const some = () => `${not(dice)}-d ${dice.pick(ranges)}`;
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
          `-A POSTROUTING ${some()} -p ${protocol} -m multiport ${not(dice)}--dports 53,80:443,8080,32191 -j MASQUERADE`,
      ),
    },
    { filter: [`-A FORWARD ${some()} -j RETURN`, '-A FORWARD -j ACCEPT'] },
  ];
}

function makeTable(
  dice: Dice,
  words: Vocabulary,
  table: TableName,
  sets: readonly string[],
  first: readonly string[],
): string {
  const heads: string[] = [];
  const lines = [...first];
  for (const { roots, user } of tables[table]) {
    // A RETURN from a chain that the kernel calls is no ACCEPT where the policy is another.
    const policyOf = (chain: string) => (chain === 'FORWARD' && first.length > 0 ? 'DROP' : 'ACCEPT');
    heads.push(
      ...roots.map((chain) => `:${chain} ${table === 'filter' ? policyOf(chain) : 'ACCEPT'} [0:0]`),
      ...user.map((chain) => `:${chain} - [0:0]`),
    );
    const fill = (chain: string, count: number, callable: readonly string[]) => {
      const place = { ...{ table, chain, sets, callable }, words };
      for (let made = 0; made < count; made++) lines.push(makeRule(dice, place));
    };
    for (const chain of roots) fill(chain, chain === 'POSTROUTING' ? 2 + dice.below(6) : dice.below(3), user);
    for (const [index, chain] of user.entries()) fill(chain, dice.below(5), user.slice(index + 1));
  }
  return [`*${table}`, ...heads, ...lines, 'COMMIT', ''].join('\n');
}

interface Place {
  readonly words: Vocabulary;
  readonly table: TableName;
  readonly chain: string;
  readonly sets: readonly string[];
  readonly callable: readonly string[];
}

function makeRule(dice: Dice, place: Place): string {
  const { chain, words } = place;
  const count = dice.pick([0, 1, 1, 1, 1, 2, 2, 3]);
  const protocol = dice.chance(0.35) ? dice.pick(['tcp', 'udp', 'tcp', 'udp', words.icmp]) : undefined;
  const matches = Array.from({ length: count }, () => makeMatch(dice, place, protocol));
  // iptables takes some of them once, some modules of iptables-nft too.
  const optionOf = (match: string) => /(^|! )(-[sdio]|-m \S+) /.exec(match)?.[2] ?? match;
  const unique = new Map(matches.map((match) => [optionOf(match), match])).values();
  return ['-A', chain, ...(protocol ? [`-p ${protocol}`] : []), ...unique, makeTarget(dice, place, protocol)]
    .filter((word) => word !== '')
    .join(' ');
}

const not = (dice: Dice) => (dice.chance(0.3) ? '! ' : '');

function makeMatch(dice: Dice, { chain, sets, words }: Place, protocol: string | undefined): string {
  const mayIn = !['POSTROUTING', 'OUTPUT'].includes(chain);
  const mayOut = chain !== 'PREROUTING';
  switch (dice.below(17)) {
    case 0:
    case 1:
      return `${not(dice)}-d ${dice.pick(words.ranges)}`;
    case 2:
      return `${not(dice)}-s ${dice.pick(words.sourceRanges)}`;
    case 3:
      return mayOut ? `${not(dice)}-o ${dice.pick(interfaces)}` : '';
    case 4:
      return mayIn ? `${not(dice)}-i ${dice.pick(interfaces)}` : '';
    case 5:
    case 6:
      return makeTransportMatch(dice, protocol);
    case 7:
    case 8:
      return `-m mark ${not(dice)}--mark ${dice.pick(marks)}`;
    case 9:
      return `-m connmark ${not(dice)}--mark ${dice.pick(marks)}`;
    case 10:
      return makeAddrtype(dice, chain, words);
    case 11:
    case 12:
      return makeSetMatch(dice, sets);
    case 13:
      return `-m conntrack ${not(dice)}--ctstate ${dice.pick(['NEW', 'ESTABLISHED', 'RELATED,ESTABLISHED', 'DNAT', 'NEW,INVALID', 'UNTRACKED'])}`;
    case 14:
      return `-m iprange ${not(dice)}--dst-range ${dice.pick(words.spans)}`;
    case 15:
      return '-m comment --comment "a \\"quoted\\" -j remark"';
    default:
      return dice.pick([
        '-m statistic --mode random --probability 1',
        '-m statistic --mode random --probability 0.5',
        '-m limit --limit 5/sec',
        '',
      ]);
  }
}

function makeTransportMatch(dice: Dice, protocol: string | undefined): string {
  if (protocol === undefined) return '';
  if (protocol === 'icmp') return `-m icmp ${not(dice)}--icmp-type ${dice.pick(['8', '8/0', '0', '3/1'])}`;
  if (protocol === 'icmpv6') return `-m icmp6 ${not(dice)}--icmpv6-type ${dice.pick(['128', '129'])}`;
  const flags = ['FIN,SYN,RST,ACK SYN', 'SYN NONE', 'ACK,URG ACK'];
  return dice.pick([
    `-m ${protocol} ${not(dice)}--dport ${portRange(dice)}`,
    `-m multiport ${not(dice)}--${dice.pick(['dports', 'sports', 'ports'])} ${dice.pick(ports)},${portRange(dice)}`,
    `-m multiport ${not(dice)}--dports ${dice.some(ports, 0.6).join(',') || '80,443'}`,
    `-m ${protocol} ${not(dice)}--sport ${dice.pick(['1024:30000', '30000:', ':2000'])}`,
    ...(protocol === 'tcp' ? [`-m tcp ${not(dice)}--tcp-flags ${dice.pick(flags)}`] : []),
  ]);
}

const portRange = (dice: Dice) => {
  const port = dice.pick(ports);
  return dice.chance(0.3) ? `${port}:${port + 1 + dice.below(9000)}` : String(port);
};

function makeAddrtype(dice: Dice, chain: string, { types }: Vocabulary): string {
  const limit = /^(POSTROUTING|S\d)$/.test(chain) && dice.chance(0.2) ? ' --limit-iface-out' : '';
  return `-m addrtype ${not(dice)}--${dice.pick(['dst', 'dst', 'src'])}-type ${dice.pick(types)}${limit}`;
}

function makeSetMatch(dice: Dice, sets: readonly string[]): string {
  const name = dice.pick(sets);
  const flags = /^(port|pair)/.test(name) ? 'dst,dst' : dice.pick(['dst', 'dst', 'src']);
  return `-m set ${not(dice)}--match-set ${name} ${flags}`;
}

function makeTarget(dice: Dice, place: Place, protocol: string | undefined): string {
  const { table, callable } = place;
  const calls =
    callable.length > 0
      ? [`-j ${dice.pick(callable)}`, `-j ${dice.pick(callable)}`, `-g ${dice.pick(callable)}`]
      : [];
  const ends = ['-j RETURN', '-j RETURN', '-j ACCEPT'];
  switch (table) {
    case 'raw':
      return dice.pick([...calls, ...ends, '-j CT --notrack', '-j LOG']);
    case 'filter':
      return dice.pick([...calls, ...ends, '-j DROP', '-j ACCEPT', '-j LOG']);
    case 'mangle':
      return dice.pick([...calls, ...ends, ...marking, ...marking, '-j LOG']);
    case 'nat':
      return dice.pick([...calls, ...calls, ...ends, '-j LOG', '', ...translations(dice, place, protocol)]);
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

function translations(dice: Dice, { chain, words }: Place, protocol: string | undefined): string[] {
  const masquerade = '-j MASQUERADE';
  if (/^(POSTROUTING|S\d)$/.test(chain)) {
    const snats = words.snat.map((to) => `-j SNAT --to-source ${to}`);
    return [masquerade, masquerade, masquerade, ...snats];
  }
  const hasPorts = protocol === 'tcp' || protocol === 'udp';
  const to = dice.pick(words.destinations);
  const withPort = words.family === 4 ? `${to}:8080` : `[${to}]:8080`;
  return [
    `-j DNAT --to-destination ${hasPorts && dice.chance(0.3) ? withPort : to}`,
    `-j DNAT --to-destination ${dice.pick(words.dnat)}`,
    ...(hasPorts ? ['-j REDIRECT --to-ports 8080'] : []),
  ];
}
