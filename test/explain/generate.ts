import { places, type Sent } from './lab';

/** Numbers that a seed gives again (mulberry32). */
export class Dice {
  constructor(private state: number) {}

  next(): number {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  }

  below(limit: number): number {
    return Math.floor(this.next() * limit);
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(values: readonly T[]): T {
    const value = values[this.below(values.length)];
    if (value === undefined) throw new Error('nothing to pick from');
    return value;
  }
}

export interface RuleSetText {
  readonly sets: string;
  readonly legacy: string;
  readonly nft: string;
}

const destinations = [
  ...[
    '10.193.0.3',
    '10.193.7.9',
    '10.50.0.5',
    '10.50.3.1',
    '10.8.0.1',
    '8.8.8.8',
    '203.0.113.7',
    '172.31.0.9',
  ],
] as const;
const ranges = [
  ...[
    '10.0.0.0/8',
    '10.193.0.0/16',
    '10.193.0.3/32',
    '10.50.0.0/16',
    '10.50.0.0/22',
    '8.8.0.0/16',
    '203.0.113.0/24',
  ],
  ...['10.132.0.0/14', '10.209.0.0/16', '0.0.0.0/1', '128.0.0.0/1', '192.168.0.0/16', '172.16.0.0/12'],
] as const;
const sourceRanges = [
  '10.132.0.0/24',
  '10.132.0.10/32',
  '10.209.0.0/16',
  '10.209.0.2/32',
  '192.168.50.0/24',
  '10.0.0.0/8',
] as const;
const ports = [53, 80, 443, 5432, 8080, 32191] as const;
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

/** Rules of both backends, as iptables-restore takes them. */
export function makeRuleSet(dice: Dice, id: number): RuleSetText {
  const names = { net: `net${id}`, ip: `ip${id}`, port: `port${id}`, list: `list${id}`, pair: `pair${id}` };
  const style = dice.pick(['nft', 'legacy', 'both', 'both'] as const);
  return {
    sets: makeSets(dice, names),
    legacy: style === 'nft' ? emptied : makeTables(dice, Object.values(names)),
    nft: style === 'legacy' ? emptied : makeTables(dice, Object.values(names)),
  };
}

const emptied = Object.keys(tables)
  .map((name) => `*${name}\nCOMMIT\n`)
  .join('');

function makeSets(dice: Dice, names: Record<'net' | 'ip' | 'port' | 'list' | 'pair', string>): string {
  const some = <T>(values: readonly T[]) => [...new Set(values.filter(() => dice.chance(0.4)))];
  const lines = [
    `create ${names.net} hash:net`,
    ...some(ranges).map((range) => `add ${names.net} ${range}${dice.chance(0.2) ? ' nomatch' : ''}`),
    `create ${names.ip} hash:ip`,
    ...some(destinations).map((address) => `add ${names.ip} ${address}`),
    `create ${names.port} hash:ip,port`,
    ...some(destinations).map(
      (address) => `add ${names.port} ${address},${dice.pick(['tcp', 'udp'])}:${dice.pick(ports)}`,
    ),
    `create ${names.pair} hash:net,port`,
    ...some(ranges).map(
      (range) => `add ${names.pair} ${range},${dice.pick(['tcp', 'udp'])}:${dice.pick(ports)}`,
    ),
    `create ${names.list} list:set`,
    ...some([names.net, names.ip]).map((name) => `add ${names.list} ${name}`),
  ];
  return `${lines.join('\n')}\n`;
}

function makeTables(dice: Dice, sets: readonly string[]): string {
  return (Object.keys(tables) as TableName[]).map((table) => makeTable(dice, table, sets)).join('');
}

const sizes = { raw: 0.15, mangle: 0.7, nat: 1, filter: 0.25 } as const;

function makeTable(dice: Dice, table: TableName, sets: readonly string[]): string {
  if (!dice.chance(sizes[table])) return `*${table}\nCOMMIT\n`;
  const heads: string[] = [];
  const lines: string[] = [];
  for (const { roots, user } of tables[table]) {
    heads.push(
      ...roots.map((chain) => `:${chain} ACCEPT [0:0]`),
      ...user.map((chain) => `:${chain} - [0:0]`),
    );
    const fill = (chain: string, count: number, callable: readonly string[]) => {
      for (let made = 0; made < count; made++) lines.push(makeRule(dice, { table, chain, sets, callable }));
    };
    for (const chain of roots) fill(chain, chain === 'POSTROUTING' ? 2 + dice.below(6) : dice.below(3), user);
    for (const [index, chain] of user.entries()) fill(chain, dice.below(5), user.slice(index + 1));
  }
  return [`*${table}`, ...heads, ...lines, 'COMMIT', ''].join('\n');
}

interface Place {
  readonly table: TableName;
  readonly chain: string;
  readonly sets: readonly string[];
  readonly callable: readonly string[];
}

function makeRule(dice: Dice, place: Place): string {
  const { chain } = place;
  const count = dice.pick([0, 1, 1, 1, 2, 2, 3]);
  const protocol = dice.chance(0.35) ? dice.pick(['tcp', 'udp'] as const) : undefined;
  const matches = Array.from({ length: count }, () => makeMatch(dice, place, protocol));
  // iptables takes some of them once, some modules of iptables-nft too.
  const optionOf = (match: string) => /(^|! )(-[sdio]|-m \S+) /.exec(match)?.[2] ?? match;
  const unique = new Map(matches.map((match) => [optionOf(match), match])).values();
  return ['-A', chain, ...(protocol ? [`-p ${protocol}`] : []), ...unique, makeTarget(dice, place, protocol)]
    .filter((word) => word !== '')
    .join(' ');
}

const not = (dice: Dice) => (dice.chance(0.3) ? '! ' : '');

function makeMatch(dice: Dice, { chain, sets }: Place, protocol: 'tcp' | 'udp' | undefined): string {
  const mayIn = !['POSTROUTING', 'OUTPUT'].includes(chain);
  const mayOut = chain !== 'PREROUTING';
  const kind = dice.below(16);
  switch (kind) {
    case 0:
    case 1:
      return `${not(dice)}-d ${dice.pick(ranges)}`;
    case 2:
      return `${not(dice)}-s ${dice.pick(sourceRanges)}`;
    case 3:
      return mayOut ? `${not(dice)}-o ${dice.pick(interfaces)}` : '';
    case 4:
      return mayIn ? `${not(dice)}-i ${dice.pick(interfaces)}` : '';
    case 5:
      return protocol ? `-m ${protocol} ${not(dice)}--dport ${portRange(dice)}` : '';
    case 6:
      return protocol
        ? `-m multiport ${not(dice)}--${dice.pick(['dports', 'sports', 'ports'])} ${dice.pick(ports)},${portRange(dice)}`
        : '';
    case 7:
      return `-m mark ${not(dice)}--mark ${dice.pick(marks)}`;
    case 8:
      return `-m connmark ${not(dice)}--mark ${dice.pick(marks)}`;
    case 9:
      return makeAddrtype(dice, chain);
    case 10:
    case 11:
      return makeSetMatch(dice, sets);
    case 12:
      return `-m conntrack ${not(dice)}--ctstate ${dice.pick(['NEW', 'ESTABLISHED', 'RELATED,ESTABLISHED', 'DNAT', 'NEW,INVALID', 'UNTRACKED'])}`;
    case 13:
      return `-m iprange ${not(dice)}--dst-range ${dice.pick(['10.0.0.0-10.100.0.0', '10.193.0.0-10.193.0.9', '1.0.0.0-200.0.0.0'])}`;
    case 14:
      return dice.pick([
        '-m comment --comment "a \\"quoted\\" -j remark"',
        protocol === 'tcp'
          ? `-m tcp ${not(dice)}--tcp-flags ${dice.pick(['FIN,SYN,RST,ACK SYN', 'SYN NONE', 'ACK,URG ACK'])}`
          : '',
        protocol ? `-m ${protocol} ${not(dice)}--sport ${dice.pick(['1024:30000', '30000:', ':2000'])}` : '',
      ]);
    default:
      return dice.pick([
        '-m statistic --mode random --probability 1',
        '-m statistic --mode random --probability 0.5',
        '-m limit --limit 5/sec',
        '',
      ]);
  }
}

const portRange = (dice: Dice) => {
  const port = dice.pick(ports);
  return dice.chance(0.3) ? `${port}:${port + 1 + dice.below(9000)}` : String(port);
};

function makeAddrtype(dice: Dice, chain: string): string {
  const types = dice.pick(['LOCAL', 'LOCAL', 'UNICAST', 'BROADCAST,LOCAL', 'MULTICAST']);
  const limit = /^(POSTROUTING|S\d)$/.test(chain) && dice.chance(0.2) ? ' --limit-iface-out' : '';
  return `-m addrtype ${not(dice)}--${dice.pick(['dst', 'dst', 'src'])}-type ${types}${limit}`;
}

function makeSetMatch(dice: Dice, sets: readonly string[]): string {
  const name = dice.pick(sets);
  const flags = /^(port|pair)/.test(name) ? 'dst,dst' : dice.pick(['dst', 'dst', 'src']);
  return `-m set ${not(dice)}--match-set ${name} ${flags}`;
}

function makeTarget(dice: Dice, place: Place, protocol: string | undefined): string {
  const { table, chain, callable } = place;
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
      return dice.pick([...calls, ...calls, ...ends, '-j LOG', '', ...translations(dice, chain, protocol)]);
  }
}

const marking = [
  ...[
    '-j MARK --set-mark 0x1',
    '-j MARK --set-xmark 0x4000/0x4000',
    '-j MARK --or-mark 0x8',
    '-j MARK --and-mark 0xff',
  ],
  ...[
    '-j MARK --xor-mark 0x5',
    '-j MARK --set-mark 0x3/0xf',
    '-j CONNMARK --set-mark 0x80/0x80',
    '-j CONNMARK --set-xmark 0x1',
  ],
  ...[
    '-j CONNMARK --save-mark',
    '-j CONNMARK --restore-mark',
    '-j CONNMARK --save-mark --nfmask 0xff --ctmask 0xfff',
  ],
  ...['-j CONNMARK --restore-mark --nfmask 0xf0 --ctmask 0xf0'],
];

function translations(dice: Dice, chain: string, protocol: string | undefined): string[] {
  if (/^(POSTROUTING|S\d)$/.test(chain)) {
    return [
      ...['-j MASQUERADE', '-j MASQUERADE', '-j MASQUERADE', `-j SNAT --to-source ${places.second}`],
      ...['-j SNAT --to-source 198.51.100.7', '-j SNAT --to-source 198.51.100.10-198.51.100.12'],
    ];
  }
  const port = protocol ? dice.pick([':8080', '', '']) : '';
  return [
    `-j DNAT --to-destination ${dice.pick(destinations)}${port}`,
    `-j DNAT --to-destination ${dice.pick(['10.50.0.5-10.50.0.6', places.node, '10.193.0.3'])}`,
    ...(protocol ? ['-j REDIRECT --to-ports 8080'] : []),
  ];
}

/** Each with a source port that no other of the batch has. */
export function makePackets(dice: Dice, count: number): Sent[] {
  const used = new Set<number>();
  return Array.from({ length: count }, () => {
    let sourcePort: number;
    do sourcePort = 1100 + dice.below(50_000);
    while (used.has(sourcePort));
    used.add(sourcePort);
    const isFromNode = dice.chance(0.3);
    const source = isFromNode
      ? dice.pick([places.node, places.node, places.second, places.other])
      : places.pod;
    return {
      protocol: dice.pick(['tcp', 'udp'] as const),
      ...{ source, sourcePort, isFromNode },
      destination: dice.chance(0.05) ? dice.pick([places.node, places.other]) : dice.pick(destinations),
      destinationPort: dice.pick(ports),
    };
  });
}
