import type { SeededRandom } from './random';
import { ports, type AddressPool } from './address-pools';

const deleteTables = ['ip', 'ip6', 'inet']
  .map((family) => `table ${family} lab {}\ndelete table ${family} lab\n`)
  .join('');

/** Takes away what the rule set before has left. */
export const deleteLabTables = deleteTables;

/** Chains that the kernel calls, with the user chains that they may share. */
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

const shares = { mark: 0.6, raw: 0.15, filter: 0.35, dnat: 0.5, snat: 1 } as const;

interface NftChainContext {
  readonly pool: AddressPool;
  readonly kind: ChainKind;
  readonly chain: string;
  readonly callable: readonly string[];
  readonly isInet: boolean;
}

/** One table, as `nft -f` takes it. */
export function makeNft(random: SeededRandom, pool: AddressPool): string {
  const isInet = random.chance(0.4);
  const family = isInet ? 'inet' : ipOf(pool);
  const chains = groups
    .filter(({ kind }) => random.chance(shares[kind]))
    .flatMap(({ kind, baseChains, userChains }) => {
      const chainContext = { ...{ pool, kind, isInet }, callable: userChains as readonly string[] };
      return [
        // Before those that call them.
        ...[...userChains.entries()]
          .reverse()
          .map(([index, chain]) =>
            makeChain(
              random,
              { ...chainContext, chain, callable: userChains.slice(index + 1) },
              '',
              random.integerBelow(5),
            ),
          ),
        ...baseChains.map(([chain, hook]) => {
          const policy = kind === 'filter' && random.chance(0.3) ? 'drop' : 'accept';
          const count = kind === 'snat' ? 1 + random.integerBelow(6) : 1 + random.integerBelow(3);
          const head = `    ${hook}; policy ${policy};\n`;
          // Else a chain that drops by default lets nothing through.
          const tail =
            policy === 'drop'
              ? `    ${random.pick(portMatches(random))} accept\n    meta mark 0 accept\n`
              : '';
          return makeChain(random, { ...chainContext, chain }, head, count, tail);
        }),
      ];
    });
  return `${deleteTables}table ${family} lab {\n${makeSets(random, pool)}${chains.join('')}}\n`;
}

const ipOf = ({ family }: AddressPool) => (family === 4 ? 'ip' : 'ip6');

function makeSets(random: SeededRandom, { family, cidrs, destinations }: AddressPool): string {
  const type = family === 4 ? 'ipv4_addr' : 'ipv6_addr';
  const set = (name: string, head: string, elements: readonly string[]) =>
    `  set ${name} { ${head}; ${elements.length > 0 ? `elements = { ${elements.join(', ')} }; ` : ''}}\n`;
  const services = random.some(destinations).map((to) => `${to} . ${random.pick(ports)}`);
  return [
    // Ranges inside others become one with them.
    set('nets', `type ${type}; flags interval; auto-merge`, random.some(cidrs)),
    set('hosts', `type ${type}`, random.some(destinations)),
    set('services', `type ${type} . inet_service`, services),
    set('ports', 'type inet_service; flags interval', random.some(['80', '443', '5000-9000', '32191'])),
  ].join('');
}

function makeChain(
  random: SeededRandom,
  chainContext: NftChainContext,
  head: string,
  count: number,
  tail = '',
): string {
  const rules = Array.from({ length: count }, () => `    ${makeRule(random, chainContext)}\n`);
  return `  chain ${chainContext.chain} {\n${head}${rules.join('')}${tail}  }\n`;
}

/** nft takes one protocol in a rule. */
const carriers = /\b(tcp|udp|th|icmp|icmpv6|l4proto)\b/;

function makeRule(random: SeededRandom, chainContext: NftChainContext): string {
  if (chainContext.callable.length > 0 && random.chance(0.08)) return makeVerdictMap(random, chainContext);
  const count = random.pick([0, 1, 1, 1, 1, 2, 2, 3]);
  const matches = Array.from({ length: count }, () => makeMatch(random, chainContext));
  const parts = [...matches, random.chance(0.2) ? 'counter' : '', makeTarget(random, chainContext)];
  const last = parts.findLastIndex((part) => carriers.test(part));
  return parts
    .filter((part, index) => !carriers.test(part) || index === last)
    .filter((word) => word !== '')
    .join(' ');
}

function makeVerdictMap(random: SeededRandom, { pool, callable }: NftChainContext): string {
  const verdict = () =>
    random.pick([`jump ${random.pick(callable)}`, `goto ${random.pick(callable)}`, 'accept', 'return']);
  const entries = (keys: readonly (string | number)[]) =>
    `{ ${keys.map((key) => `${key} : ${verdict()}`).join(', ')} }`;
  return random.chance(0.5)
    ? `${ipOf(pool)} daddr vmap ${entries(random.some(pool.destinations, 0.5).concat(pool.snat[1] ?? []))}`
    : `${random.pick(['tcp', 'udp'])} dport vmap ${entries([...random.some(ports, 0.5), 1])}`;
}

const not = (random: SeededRandom) => (random.chance(0.3) ? '!= ' : '');

function makeMatch(random: SeededRandom, chainContext: NftChainContext): string {
  const { pool, kind, chain, isInet } = chainContext;
  const ip = ipOf(pool);
  const mayIn = /_pre$|^forward$|^F/.test(chain);
  const mayOut = /^(forward|early|post|mark_post|F\d|S\d)$/.test(chain);
  switch (random.integerBelow(14)) {
    case 0:
    case 1:
      return `${ip} daddr ${not(random)}${makeAddresses(random, pool)}`;
    case 2:
      return `${ip} saddr ${not(random)}${random.pick(pool.sourceCidrs)}`;
    case 3:
      return mayOut ? `oifname ${not(random)}${random.pick(interfaces)}` : '';
    case 4:
      return mayIn ? `iifname ${not(random)}${random.pick(interfaces)}` : '';
    case 5:
    case 6:
      return random.pick(portMatches(random));
    case 7:
    case 8:
      return makeMarkMatch(random, random.pick(['meta', 'meta', 'ct']));
    case 9:
      return makeFib(random, mayOut && kind === 'snat');
    case 10:
      return kind === 'raw'
        ? ''
        : random.pick([
            ...[
              'ct state new',
              'ct state != new',
              'ct state established,related',
              'ct state { new, invalid }',
            ],
            ...['ct status dnat', 'ct direction original', 'ct state untracked'],
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
    ...[random.pick(cidrs), random.pick(cidrs), random.pick(ranges), random.pick(destinations)],
    ...[
      '@nets',
      '@nets',
      '@hosts',
      `{ ${random.some(destinations, 0.5).join(', ') || destinations.join(', ')} }`,
    ],
  ]);

function portMatches(random: SeededRandom): string[] {
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

const makeMarkMatch = (random: SeededRandom, of: string) =>
  random.pick([
    `${of} mark ${not(random)}${random.pick(['0x1', '0x0', '{ 0x1, 0x5 }', '0x0-0x8'])}`,
    `${of} mark & 0x4000 ${random.pick(['==', '!='])} 0x4000`,
    `${of} mark & 0x80 == 0x80`,
    `${of} mark & 0x7 ${random.pick(['==', '!='])} 0x1`,
  ]);

function makeFib(random: SeededRandom, mayOut: boolean): string {
  const of = random.pick(['daddr', 'daddr', 'saddr']);
  const on = mayOut && of === 'daddr' && random.chance(0.2) ? ' . oif' : '';
  return `fib ${of}${on} type ${not(random)}${random.pick(['local', 'local', 'unicast', '{ local, broadcast }'])}`;
}

function makeTarget(random: SeededRandom, chainContext: NftChainContext): string {
  const { kind, callable } = chainContext;
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
      return random.pick([
        ...calls,
        ...calls,
        ...terminalTargets,
        'counter',
        ...translations(random, chainContext),
      ]);
  }
}

const marking = [
  ...['meta mark set 0x1', 'meta mark set meta mark or 0x4000', 'meta mark set meta mark and 0xff'],
  ...['meta mark set meta mark xor 0x5', 'ct mark set 0x80', 'ct mark set ct mark or 0x1'],
  ...['ct mark set meta mark', 'meta mark set ct mark', 'meta mark set ct mark and 0x80'],
];

function translations(random: SeededRandom, { kind, pool, isInet }: NftChainContext): string[] {
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
