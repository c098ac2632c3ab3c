import type { SeededRandom } from './random';
import { ports, type AddressPool } from './address-pools';
import { ipOf, makeMatch, portMatches, type MatchScope } from './nft-matches';

/** Commands that remove the previous batch's tables, and the tables that explain's fixes add. */
export const deleteLabTables = [
  'ip lab',
  'ip6 lab',
  'inet lab',
  'ip manual-masquerade',
  'ip6 manual-masquerade',
]
  .map((table) => `table ${table} {}\ndelete table ${table}\n`)
  .join('');

/** The base chains, grouped with the user-defined chains that they may call. */
const groups = [
  {
    kind: 'mark',
    baseChains: [
      ['mark_pre', 'type filter hook prerouting priority -150'],
      ['mark_out', 'type filter hook output priority -150'],
      ['mark_post', 'type filter hook postrouting priority -150'],
    ],
    userChains: ['M1', 'M2'],
  },
  { kind: 'raw', baseChains: [['raw_pre', 'type filter hook prerouting priority -300']], userChains: [] },
  {
    kind: 'filter',
    baseChains: [['forward', 'type filter hook forward priority 0']],
    userChains: ['F1', 'F2'],
  },
  {
    kind: 'dnat',
    baseChains: [
      ['dnat_pre', 'type nat hook prerouting priority -100'],
      ['dnat_out', 'type nat hook output priority -100'],
    ],
    userChains: ['D1', 'D2'],
  },
  {
    kind: 'snat',
    baseChains: [
      ['early', 'type nat hook postrouting priority 99'],
      ['post', 'type nat hook postrouting priority 100'],
    ],
    userChains: ['S1', 'S2', 'S3'],
  },
] as const;
type ChainKind = (typeof groups)[number]['kind'];

/** The probability that a group of chains is included. */
const shares = { mark: 0.6, raw: 0.15, filter: 0.35, dnat: 0.5, snat: 1 } as const;

interface ChainScope extends MatchScope {
  readonly kind: ChainKind;
  /** The user-defined chains that this chain's rules may call. */
  readonly callable: readonly string[];
}

/** Returns random input for `nft -f`, with a single table. */
export function makeNft(random: SeededRandom, pool: AddressPool): string {
  const isInet = random.chance(0.4);
  const family = isInet ? 'inet' : ipOf(pool);
  const chains = groups
    .filter(({ kind }) => random.chance(shares[kind]))
    .flatMap((group) => makeGroup(random, group, { pool, isInet }));
  return `${deleteLabTables}table ${family} lab {\n${makeSets(random, pool)}${chains.join('')}}\n`;
}

/**
 * Makes the chains of a group. A chain that is jumped to comes first, because nft accepts a jump only to a chain that
 * is already defined.
 */
function makeGroup(
  random: SeededRandom,
  { kind, baseChains, userChains }: (typeof groups)[number],
  { pool, isInet }: Pick<ChainScope, 'pool' | 'isInet'>,
): string[] {
  const called = [...userChains.entries()].reverse().map(([index, chain]) => {
    const callable = userChains.slice(index + 1);
    const count = random.integerBelow(5);
    return makeChain(random, { pool, kind, isInet, chain, callable }, { count });
  });
  const calling = baseChains.map(([chain, hook]) => {
    const policy = kind === 'filter' && random.chance(0.3) ? 'drop' : 'accept';
    const count = kind === 'snat' ? 1 + random.integerBelow(6) : 1 + random.integerBelow(3);
    const head = `    ${hook}; policy ${policy};\n`;
    // These rules let some packets pass when the policy is drop.
    const tail =
      policy === 'drop' ? `    ${random.pick(portMatches(random))} accept\n    meta mark 0 accept\n` : '';
    return makeChain(random, { pool, kind, isInet, chain, callable: userChains }, { head, count, tail });
  });
  return [...called, ...calling];
}

function makeSets(random: SeededRandom, { family, cidrs, destinations }: AddressPool): string {
  const type = family === 4 ? 'ipv4_addr' : 'ipv6_addr';
  const set = (name: string, head: string, elements: readonly string[]) =>
    `  set ${name} { ${head}; ${elements.length > 0 ? `elements = { ${elements.join(', ')} }; ` : ''}}\n`;
  const services = random.some(destinations).map((to) => `${to} . ${random.pick(ports)}`);
  return [
    // Uses `auto-merge`, because some of the ranges overlap.
    set('nets', `type ${type}; flags interval; auto-merge`, random.some(cidrs)),
    set('hosts', `type ${type}`, random.some(destinations)),
    set('services', `type ${type} . inet_service`, services),
    set('ports', 'type inet_service; flags interval', random.some(['80', '443', '5000-9000', '32191'])),
  ].join('');
}

interface ChainContent {
  readonly head?: string;
  /** The number of random rules in the chain. */
  readonly count: number;
  readonly tail?: string;
}

function makeChain(
  random: SeededRandom,
  scope: ChainScope,
  { head = '', count, tail = '' }: ChainContent,
): string {
  const rules = Array.from({ length: count }, () => `    ${makeRule(random, scope)}\n`);
  return `  chain ${scope.chain} {\n${head}${rules.join('')}${tail}  }\n`;
}

/** The transport protocols that a match may name; nft accepts only one in each rule. */
const carriers = /\b(tcp|udp|th|icmp|icmpv6|l4proto)\b/;

function makeRule(random: SeededRandom, scope: ChainScope): string {
  if (scope.callable.length > 0 && random.chance(0.08)) return makeVerdictMap(random, scope);
  const count = random.pick([0, 1, 1, 1, 1, 2, 2, 3]);
  const matches = Array.from({ length: count }, () => makeMatch(random, scope));
  const parts = [...matches, random.chance(0.2) ? 'counter' : '', makeTarget(random, scope)];
  const last = parts.findLastIndex((part) => carriers.test(part));
  return parts
    .filter((part, index) => !carriers.test(part) || index === last)
    .filter((word) => word !== '')
    .join(' ');
}

function makeVerdictMap(random: SeededRandom, { pool, callable }: ChainScope): string {
  const verdict = () =>
    random.pick([`jump ${random.pick(callable)}`, `goto ${random.pick(callable)}`, 'accept', 'return']);
  const entries = (keys: readonly (string | number)[]) =>
    `{ ${keys.map((key) => `${key} : ${verdict()}`).join(', ')} }`;
  return random.chance(0.5)
    ? `${ipOf(pool)} daddr vmap ${entries(random.some(pool.destinations, 0.5).concat(pool.snat[1] ?? []))}`
    : `${random.pick(['tcp', 'udp'])} dport vmap ${entries([...random.some(ports, 0.5), 1])}`;
}

function makeTarget(random: SeededRandom, scope: ChainScope): string {
  const { kind, callable } = scope;
  const calls =
    callable.length > 0 ? ['jump', 'jump', 'goto'].map((verb) => `${verb} ${random.pick(callable)}`) : [];
  const terminalTargets = ['return', 'return', 'accept'];
  switch (kind) {
    case 'raw':
      return random.pick([...terminalTargets, 'notrack', 'counter']);
    case 'filter':
      return random.pick([...calls, ...terminalTargets, 'drop', 'accept', 'counter']);
    case 'mark':
      return random.pick([...calls, ...terminalTargets, ...marking, ...marking]);
    case 'dnat':
    case 'snat':
      return random.pick([...calls, ...calls, ...terminalTargets, 'counter', ...translations(random, scope)]);
  }
}

const marking = [
  'meta mark set 0x1',
  'meta mark set meta mark or 0x4000',
  'meta mark set meta mark and 0xff',
  'meta mark set meta mark xor 0x5',
  'ct mark set 0x80',
  'ct mark set ct mark or 0x1',
  'ct mark set meta mark',
  'meta mark set ct mark',
  'meta mark set ct mark and 0x80',
];

function translations(random: SeededRandom, { kind, pool, isInet }: ChainScope): string[] {
  const ip = isInet ? ` ${ipOf(pool)}` : '';
  if (kind === 'snat') {
    return ['masquerade', 'masquerade', 'masquerade', ...pool.snat.map((to) => `snat${ip} to ${to}`)];
  }
  const to = random.pick(pool.destinations);
  return [
    `dnat${ip} to ${to}`,
    `dnat${ip} to ${random.pick(pool.dnat)}`,
    `tcp dport ${random.pick(ports)} dnat${ip} to ${pool.family === 4 ? to : `[${to}]`}:8080`,
    'meta l4proto { tcp, udp } redirect to :8080',
  ];
}
