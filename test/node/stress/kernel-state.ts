import { type StressedNode, variantBeside } from './stressed-node';

/** What is in the kernel, as text that can be compared. */
export interface KernelState {
  /** Our rules of each family, with the members of the sets that they use. Empty if there are none. */
  readonly ours: Families;
  /** The rules of other programs in table nat, and everything else that is not ours. */
  readonly foreign: ForeignState;
}

export interface Families {
  readonly v4: string;
  readonly v6: string;
}

export interface ForeignState {
  /** The chains and rules in table nat, sorted by chain, in the order of their evaluation. */
  readonly nat: Families;
  /** Other tables, sets and ip rules. */
  readonly rest: string;
}

const separator = '===== ';

/** Every part prints a line with its name, then its text. */
const parts = (variant: string) => ({
  nat4: `${variant}-save -t nat`,
  nat6: `${variant.replace('ip', 'ip6')}-save -t nat`,
  nft4: 'nft -s list table ip peermasq 2>/dev/null',
  nft6: 'nft -s list table ip6 peermasq 2>/dev/null',
  sets: 'ipset save',
  rest: `nft -s list table inet other; ip rule; ip -6 rule; ${variant}-save -t mangle; ${variant}-save -t filter`,
});

/** Reads the kernel's state. Nothing may change it at the same time. */
export async function readState({ host, backend }: StressedNode): Promise<KernelState> {
  const script = Object.entries(parts(variantBeside(backend)))
    .map(([name, command]) => `echo '${separator}${name}'; { ${command}; } || :`)
    .join('\n');
  const output = await host.run(['sh', '-c', script]);
  const texts = new Map(
    output.split(separator).map((text) => {
      const [name = '', ...lines] = text.split('\n');
      return [name, lines.filter((line) => line !== '')];
    }),
  );
  const part = (name: keyof ReturnType<typeof parts>) => texts.get(name) ?? [];
  const sets = part('sets');
  const isOurSet = (line: string) => /^(create|add) peermasq-/.test(line);
  const oursIn = (family: '4' | '6') =>
    backend === 'nft' ? part(`nft${family}`).join('\n') : ourRules(part(`nat${family}`), sets);
  return {
    ours: { v4: oursIn('4'), v6: oursIn('6') },
    foreign: {
      nat: { v4: foreignRules(part('nat4')), v6: foreignRules(part('nat6')) },
      rest: [...part('rest').map(withoutCounters), ...sets.filter((line) => !isOurSet(line))]
        .filter((line) => !line.startsWith('#'))
        .join('\n'),
    },
  };
}

const withoutCounters = (line: string) => line.replace(/ \[\d+:\d+\]$/, '');
const isOurs = (line: string) =>
  line.startsWith(':PEERMASQ') || line.startsWith('-A PEERMASQ') || line.endsWith(' -j PEERMASQ');

function ourRules(table: readonly string[], sets: readonly string[]): string {
  const membersOf = (set: string) =>
    sets
      .filter((line) => line.startsWith(`add ${set} `))
      .map((line) => line.slice(`add ${set} `.length))
      .sort()
      .join(' ');
  return table
    .filter(isOurs)
    .map((line) =>
      withoutCounters(line).replace(/--match-set (\S+)/, (_, set: string) => `set {${membersOf(set)}}`),
    )
    .join('\n');
}

/** Returns the rules of other programs by chain: tables of iptables-nft list chains in the order of their creation. */
export function foreignRules(table: readonly string[]): string {
  const foreign = table.filter((line) => !isOurs(line)).map(withoutCounters);
  const chains = foreign.filter((line) => line.startsWith(':')).sort();
  return chains
    .flatMap((chain) => {
      const [name = ''] = chain.slice(1).split(' ');
      return [`:${name}`, ...foreign.filter((line) => line.startsWith(`-A ${name} `))];
    })
    .join('\n');
}
