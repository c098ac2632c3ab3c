import type { Dice } from './dice';
import { ports, type Vocabulary } from './vocabulary';

const deleted = ['ip', 'ip6', 'inet']
  .map((family) => `table ${family} lab {}\ndelete table ${family} lab\n`)
  .join('');

/** Takes away what the rule set before has left. */
export const noTable = deleted;

/** Chains that the kernel calls, with the user chains that they may share. */
const groups = [
  {
    kind: 'mark',
    roots: [
      ['mark_pre', 'type filter hook prerouting priority -150'],
      ['mark_out', 'type filter hook output priority -150'],
      ['mark_post', 'type filter hook postrouting priority -150'],
    ],
    user: ['M1', 'M2'],
  },
  { kind: 'raw', roots: [['raw_pre', 'type filter hook prerouting priority -300']], user: [] },
  { kind: 'filter', roots: [['forward', 'type filter hook forward priority 0']], user: ['F1', 'F2'] },
  {
    kind: 'dnat',
    roots: [
      ['dnat_pre', 'type nat hook prerouting priority -100'],
      ['dnat_out', 'type nat hook output priority -100'],
    ],
    user: ['D1', 'D2'],
  },
  {
    kind: 'snat',
    roots: [
      ['early', 'type nat hook postrouting priority 99'],
      ['post', 'type nat hook postrouting priority 100'],
    ],
    user: ['S1', 'S2', 'S3'],
  },
] as const;
type Kind = (typeof groups)[number]['kind'];

const shares = { mark: 0.6, raw: 0.15, filter: 0.35, dnat: 0.5, snat: 1 } as const;

interface Place {
  readonly words: Vocabulary;
  readonly kind: Kind;
  readonly chain: string;
  readonly callable: readonly string[];
  readonly isInet: boolean;
}

/** One table, as `nft -f` takes it. */
export function makeNft(dice: Dice, words: Vocabulary): string {
  const isInet = dice.chance(0.4);
  const family = isInet ? 'inet' : ipOf(words);
  const chains = groups
    .filter(({ kind }) => dice.chance(shares[kind]))
    .flatMap(({ kind, roots, user }) => {
      const place = { ...{ words, kind, isInet }, callable: user as readonly string[] };
      return [
        // Before those that call them.
        ...[...user.entries()]
          .reverse()
          .map(([index, chain]) =>
            makeChain(dice, { ...place, chain, callable: user.slice(index + 1) }, '', dice.below(5)),
          ),
        ...roots.map(([chain, hook]) => {
          const policy = kind === 'filter' && dice.chance(0.3) ? 'drop' : 'accept';
          const count = kind === 'snat' ? 1 + dice.below(6) : 1 + dice.below(3);
          const head = `    ${hook}; policy ${policy};\n`;
          // Else a chain that drops by default lets nothing through.
          const tail =
            policy === 'drop' ? `    ${dice.pick(portMatches(dice))} accept\n    meta mark 0 accept\n` : '';
          return makeChain(dice, { ...place, chain }, head, count, tail);
        }),
      ];
    });
  return `${deleted}table ${family} lab {\n${makeSets(dice, words)}${chains.join('')}}\n`;
}

const ipOf = ({ family }: Vocabulary) => (family === 4 ? 'ip' : 'ip6');

function makeSets(dice: Dice, { family, ranges, destinations }: Vocabulary): string {
  const type = family === 4 ? 'ipv4_addr' : 'ipv6_addr';
  const set = (name: string, head: string, elements: readonly string[]) =>
    `  set ${name} { ${head}; ${elements.length > 0 ? `elements = { ${elements.join(', ')} }; ` : ''}}\n`;
  const services = dice.some(destinations).map((to) => `${to} . ${dice.pick(ports)}`);
  return [
    // Ranges inside others become one with them.
    set('nets', `type ${type}; flags interval; auto-merge`, dice.some(ranges)),
    set('hosts', `type ${type}`, dice.some(destinations)),
    set('services', `type ${type} . inet_service`, services),
    set('ports', 'type inet_service; flags interval', dice.some(['80', '443', '5000-9000', '32191'])),
  ].join('');
}

function makeChain(dice: Dice, place: Place, head: string, count: number, tail = ''): string {
  const rules = Array.from({ length: count }, () => `    ${makeRule(dice, place)}\n`);
  return `  chain ${place.chain} {\n${head}${rules.join('')}${tail}  }\n`;
}

/** nft takes one protocol in a rule. */
const carriers = /\b(tcp|udp|th|icmp|icmpv6|l4proto)\b/;

function makeRule(dice: Dice, place: Place): string {
  if (place.callable.length > 0 && dice.chance(0.08)) return makeVerdictMap(dice, place);
  const count = dice.pick([0, 1, 1, 1, 1, 2, 2, 3]);
  const matches = Array.from({ length: count }, () => makeMatch(dice, place));
  const parts = [...matches, dice.chance(0.2) ? 'counter' : '', makeTarget(dice, place)];
  const last = parts.findLastIndex((part) => carriers.test(part));
  return parts
    .filter((part, index) => !carriers.test(part) || index === last)
    .filter((word) => word !== '')
    .join(' ');
}

function makeVerdictMap(dice: Dice, { words, callable }: Place): string {
  const verdict = () =>
    dice.pick([`jump ${dice.pick(callable)}`, `goto ${dice.pick(callable)}`, 'accept', 'return']);
  const entries = (keys: readonly (string | number)[]) =>
    `{ ${keys.map((key) => `${key} : ${verdict()}`).join(', ')} }`;
  return dice.chance(0.5)
    ? `${ipOf(words)} daddr vmap ${entries(dice.some(words.destinations, 0.5).concat(words.snat[1] ?? []))}`
    : `${dice.pick(['tcp', 'udp'])} dport vmap ${entries([...dice.some(ports, 0.5), 1])}`;
}

const not = (dice: Dice) => (dice.chance(0.3) ? '!= ' : '');

function makeMatch(dice: Dice, place: Place): string {
  const { words, kind, chain, isInet } = place;
  const ip = ipOf(words);
  const mayIn = /_pre$|^forward$|^F/.test(chain);
  const mayOut = /^(forward|early|post|mark_post|F\d|S\d)$/.test(chain);
  switch (dice.below(14)) {
    case 0:
    case 1:
      return `${ip} daddr ${not(dice)}${makeAddresses(dice, words)}`;
    case 2:
      return `${ip} saddr ${not(dice)}${dice.pick(words.sourceRanges)}`;
    case 3:
      return mayOut ? `oifname ${not(dice)}${dice.pick(interfaces)}` : '';
    case 4:
      return mayIn ? `iifname ${not(dice)}${dice.pick(interfaces)}` : '';
    case 5:
    case 6:
      return dice.pick(portMatches(dice));
    case 7:
    case 8:
      return makeMarkMatch(dice, dice.pick(['meta', 'meta', 'ct']));
    case 9:
      return makeFib(dice, mayOut && kind === 'snat');
    case 10:
      return kind === 'raw'
        ? ''
        : dice.pick([
            ...[
              'ct state new',
              'ct state != new',
              'ct state established,related',
              'ct state { new, invalid }',
            ],
            ...['ct status dnat', 'ct direction original', 'ct state untracked'],
          ]);
    case 11:
      return `${ip} daddr . ${dice.pick(['tcp', 'udp', 'th'])} dport ${not(dice)}@services`;
    case 12:
      return dice.pick([
        `meta l4proto ${not(dice)}${dice.pick(['tcp', 'udp', '{ tcp, udp }', words.icmp === 'icmp' ? 'icmp' : 'ipv6-icmp'])}`,
        `${words.icmp} type ${not(dice)}${dice.pick(['echo-request', 'echo-reply'])}`,
        ...(isInet ? [`meta nfproto ipv${words.family}`] : []),
      ]);
    default:
      return dice.pick(['numgen random mod 2 0', 'limit rate 5/second', '', '']);
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

const makeAddresses = (dice: Dice, { ranges, destinations, spans }: Vocabulary) =>
  dice.pick([
    ...[dice.pick(ranges), dice.pick(ranges), dice.pick(spans), dice.pick(destinations)],
    ...[
      '@nets',
      '@nets',
      '@hosts',
      `{ ${dice.some(destinations, 0.5).join(', ') || destinations.join(', ')} }`,
    ],
  ]);

function portMatches(dice: Dice): string[] {
  const carrier = dice.pick(['tcp', 'udp', 'th']);
  const some = dice.some(ports, 0.5).join(', ') || '80, 443';
  const protocols = carrier === 'th' ? 'meta l4proto { tcp, udp } ' : '';
  return [
    `${protocols}${carrier} dport ${not(dice)}${dice.pick(ports)}`,
    `${protocols}${carrier} dport ${not(dice)}{ ${some} }`,
    `${protocols}${carrier} dport ${not(dice)}@ports`,
    `${protocols}${carrier} dport ${not(dice)}80-6000`,
    `${protocols}${carrier} sport ${dice.pick(['< 20000', '>= 20000', '!= 1024-30000', '> 40000'])}`,
  ];
}

const makeMarkMatch = (dice: Dice, of: string) =>
  dice.pick([
    `${of} mark ${not(dice)}${dice.pick(['0x1', '0x0', '{ 0x1, 0x5 }', '0x0-0x8'])}`,
    `${of} mark & 0x4000 ${dice.pick(['==', '!='])} 0x4000`,
    `${of} mark & 0x80 == 0x80`,
    `${of} mark & 0x7 ${dice.pick(['==', '!='])} 0x1`,
  ]);

function makeFib(dice: Dice, mayOut: boolean): string {
  const of = dice.pick(['daddr', 'daddr', 'saddr']);
  const on = mayOut && of === 'daddr' && dice.chance(0.2) ? ' . oif' : '';
  return `fib ${of}${on} type ${not(dice)}${dice.pick(['local', 'local', 'unicast', '{ local, broadcast }'])}`;
}

function makeTarget(dice: Dice, place: Place): string {
  const { kind, callable } = place;
  const calls =
    callable.length > 0 ? ['jump', 'jump', 'goto'].map((verb) => `${verb} ${dice.pick(callable)}`) : [];
  const ends = ['return', 'return', 'accept'];
  switch (kind) {
    case 'raw':
      return dice.pick([...ends, 'notrack', 'counter']);
    case 'filter':
      return dice.pick([...calls, ...ends, 'drop', 'accept', 'counter']);
    case 'mark':
      return dice.pick([...calls, ...ends, ...marking, ...marking]);
    case 'dnat':
    case 'snat':
      return dice.pick([...calls, ...calls, ...ends, 'counter', ...translations(dice, place)]);
  }
}

const marking = [
  ...['meta mark set 0x1', 'meta mark set meta mark or 0x4000', 'meta mark set meta mark and 0xff'],
  ...['meta mark set meta mark xor 0x5', 'ct mark set 0x80', 'ct mark set ct mark or 0x1'],
  ...['ct mark set meta mark', 'meta mark set ct mark', 'meta mark set ct mark and 0x80'],
];

function translations(dice: Dice, { kind, words, isInet }: Place): string[] {
  const ip = isInet ? ` ${ipOf(words)}` : '';
  if (kind === 'snat') {
    return ['masquerade', 'masquerade', 'masquerade', ...words.snat.map((to) => `snat${ip} to ${to}`)];
  }
  const to = dice.pick(words.destinations);
  return [
    `dnat${ip} to ${to}`,
    `dnat${ip} to ${dice.pick(words.dnat)}`,
    `tcp dport ${dice.pick(ports)} dnat${ip} to ${words.family === 4 ? to : `[${to}]`}:8080`,
    'meta l4proto { tcp, udp } redirect to :8080',
  ];
}
