import type { SeededRandom } from './random';
import { ports, type AddressPool } from './address-pools';
import { makeMatch, not, type MatchScope } from './iptables-matches';

/**
 * The base chains of each table, with the user-defined chains that each may call: NAT targets are not valid in all
 * chains.
 */
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

/** The names of the sets, in the order in which the sets can be destroyed: a list before the sets in it. */
export const setNames = (id: number): SetNames => ({
  list: `list${id}`,
  net: `net${id}`,
  ip: `ip${id}`,
  port: `port${id}`,
  pair: `pair${id}`,
});

/** Returns random input for `ipset restore`. */
export function makeSets(
  random: SeededRandom,
  { family, cidrs, destinations }: AddressPool,
  sets: SetNames,
): string {
  const option = family === 4 ? 'family inet' : 'family inet6';
  const service = () => `${random.pick(['tcp', 'udp'])}:${random.pick(ports)}`;
  const lines = [
    `create ${sets.net} hash:net ${option}`,
    ...random.some(cidrs).map((cidr) => `add ${sets.net} ${cidr}${random.chance(0.2) ? ' nomatch' : ''}`),
    `create ${sets.ip} hash:ip ${option}`,
    ...random.some(destinations).map((address) => `add ${sets.ip} ${address}`),
    `create ${sets.port} hash:ip,port ${option}`,
    ...random.some(destinations).map((address) => `add ${sets.port} ${address},${service()}`),
    `create ${sets.pair} hash:net,port ${option}`,
    ...random.some(cidrs).map((cidr) => `add ${sets.pair} ${cidr},${service()}`),
    `create ${sets.list} list:set`,
    ...random.some([sets.net, sets.ip]).map((name) => `add ${sets.list} ${name}`),
  ];
  return `${lines.join('\n')}\n`;
}

/** Resets the policy, too, because iptables-restore would keep the old policy. */
const emptyTable = (name: IptablesTable) =>
  `*${name}\n${name === 'filter' ? ':FORWARD ACCEPT [0:0]\n' : ''}COMMIT\n`;

export const emptyTables = names.map(emptyTable).join('');

/** The probability that a table has rules. */
const shares = { raw: 0.15, mangle: 0.6, nat: 1, filter: 0.25 } as const;

/** Returns random input for iptables-restore, with every table. */
export function makeTables(random: SeededRandom, pool: AddressPool, sets: SetNames): string {
  const patterns = random.some(makePatterns(random, pool), 0.3);
  const linesOf = (table: IptablesTable) => patterns.flatMap((pattern) => pattern[table] ?? []);
  return names
    .map((table) => {
      const first = linesOf(table);
      const isEmpty = first.length === 0 && !random.chance(shares[table]);
      return isEmpty
        ? emptyTable(table)
        : makeTable(random, { table, pool, sets: Object.values(sets) }, first);
    })
    .join('');
}

type Pattern = Partial<Record<IptablesTable, readonly string[]>>;

/** Returns rules in patterns that occur on real nodes. Purely random rules rarely combine features in these ways. */
function makePatterns(random: SeededRandom, { cidrs }: AddressPool): Pattern[] {
  const some = () => `${not(random)}-d ${random.pick(cidrs)}`;
  return [
    // The pattern of kube-proxy, which ignores all other bits of the mark.
    {
      mangle: [`-A PREROUTING ${some()} -j MARK --or-mark 0x4005`, '-A OUTPUT -j MARK --set-xmark 0x2/0xf'],
      nat: [
        '-A POSTROUTING -m mark --mark 0x4000/0x4000 -j MASQUERADE',
        `-A POSTROUTING ${some()} -m mark ! --mark 0x2/0x2 -j RETURN`,
      ],
    },
    // The pattern of the VPC CNI, which restores the packet's mark from the connection mark.
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
  { table, pool, sets }: Pick<ChainScope, 'table' | 'pool' | 'sets'>,
  first: readonly string[],
): string {
  const heads: string[] = [];
  const lines = [...first];
  for (const { baseChains, userChains } of tables[table]) {
    // With policy DROP, RETURN in a base chain drops the packet instead of accepting it.
    const policyOf = (chain: string) => (chain === 'FORWARD' && first.length > 0 ? 'DROP' : 'ACCEPT');
    heads.push(
      ...baseChains.map((chain) => `:${chain} ${table === 'filter' ? policyOf(chain) : 'ACCEPT'} [0:0]`),
      ...userChains.map((chain) => `:${chain} - [0:0]`),
    );
    const fill = (chain: string, count: number, callable: readonly string[]) => {
      const scope = { table, chain, sets, callable, pool };
      for (let made = 0; made < count; made++) lines.push(makeRule(random, scope));
    };
    for (const chain of baseChains)
      fill(chain, chain === 'POSTROUTING' ? 2 + random.integerBelow(6) : random.integerBelow(3), userChains);
    for (const [index, chain] of userChains.entries())
      fill(chain, random.integerBelow(5), userChains.slice(index + 1));
  }
  return [`*${table}`, ...heads, ...lines, 'COMMIT', ''].join('\n');
}

interface ChainScope extends MatchScope {
  readonly table: IptablesTable;
  /** The user-defined chains that this chain's rules may call. */
  readonly callable: readonly string[];
}

function makeRule(random: SeededRandom, scope: ChainScope): string {
  const { chain, pool } = scope;
  const count = random.pick([0, 1, 1, 1, 1, 2, 2, 3]);
  const protocol = random.chance(0.35) ? random.pick(['tcp', 'udp', 'tcp', 'udp', pool.icmp]) : undefined;
  const matches = Array.from({ length: count }, () => makeMatch(random, scope, protocol));
  // Identifies an option that a rule may contain only once. iptables-nft also allows some modules only once.
  const optionOf = (match: string) => /(^|! )(-[sdio]|-m \S+) /.exec(match)?.[2] ?? match;
  const unique = new Map(matches.map((match) => [optionOf(match), match])).values();
  return [
    '-A',
    chain,
    ...(protocol ? [`-p ${protocol}`] : []),
    ...unique,
    makeTarget(random, scope, protocol),
  ]
    .filter((word) => word !== '')
    .join(' ');
}

function makeTarget(random: SeededRandom, scope: ChainScope, protocol: string | undefined): string {
  const { table, callable } = scope;
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
        ...translations(random, scope, protocol),
      ]);
  }
}

const marking = [
  '-j MARK --set-mark 0x1',
  '-j MARK --set-xmark 0x4000/0x4000',
  '-j MARK --or-mark 0x8',
  '-j MARK --and-mark 0xff',
  '-j MARK --xor-mark 0x5',
  '-j MARK --set-mark 0x3/0xf',
  '-j CONNMARK --set-mark 0x80/0x80',
  '-j CONNMARK --set-xmark 0x1',
  '-j CONNMARK --save-mark',
  '-j CONNMARK --restore-mark',
  '-j CONNMARK --save-mark --nfmask 0xff --ctmask 0xfff',
  '-j CONNMARK --restore-mark --nfmask 0xf0 --ctmask 0xf0',
];

function translations(
  random: SeededRandom,
  { chain, pool }: ChainScope,
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
