import { parseAddress } from '../../../../shared/core/model/cidr';
import { explain } from '../../../../shared/core/explain/explain';
import type { Packet } from '../../../../shared/core/explain/simulate/packet';
import { parseSnapshot } from '../../../../shared/core/explain/parse/snapshot';
import { walk } from '../../../../shared/core/explain/simulate/walk';
import { type CaseBatch, makeBatch, type RuleSetText } from './generate';
import { emptyTables, setNames } from './generate-iptables';
import { type ExplainLab, packetKeyOf, openExplainLab, type SentPacket } from './lab';

export interface ComparisonTally {
  readonly cases: number;
  readonly certain: number;
  /** The kernel's answer is among several. */
  readonly inconclusive: number;
  readonly disagreements: readonly string[];
  /** Cases by where the rules are, by family and by protocol. */
  readonly counts: ReadonlyMap<string, number>;
}

export interface CompareOptions {
  readonly cases: number;
  readonly seed: number;
  /** The rule set to take alone. */
  readonly only?: number | undefined;
}

const packetsPerRuleSet = 12;

/** Sends `cases` random packets through random rules, and asks the simulator about each. */
export async function compare(options: CompareOptions): Promise<ComparisonTally> {
  const lab = await openExplainLab();
  try {
    return await compareIn(lab, options);
  } finally {
    await lab.close();
  }
}

async function compareIn(lab: ExplainLab, { cases, seed, only }: CompareOptions): Promise<ComparisonTally> {
  const tally = { cases: 0, certain: 0, inconclusive: 0, disagreements: [] as string[] };
  const counts = new Map<string, number>();
  for (let id = only ?? 1; tally.cases < cases && (only ?? id) === id; id++) {
    const batch = makeBatch(seed, id, Math.min(packetsPerRuleSet, cases - tally.cases));
    const dump = await load(lab, batch);
    await lab.send(batch.packets);
    for (const compared of await comparePackets(lab, dump, batch.packets)) {
      tally.cases += 1;
      if (compared.agreement === 'certain') tally.certain += 1;
      else if (compared.agreement === 'inconclusive') tally.inconclusive += 1;
      else tally.disagreements.push(describeDisagreement(seed, batch, dump, compared));
      const { kind, family } = batch.rules;
      for (const name of [kind, `IPv${family}`, compared.packet.protocol.replace('v6', '')])
        counts.set(name, (counts.get(name) ?? 0) + 1);
    }
  }
  return { ...tally, counts };
}

/** What the node's own programs print, each after a line that names it. */
export async function printDump(
  lab: ExplainLab,
  { family, kind }: Pick<RuleSetText, 'family' | 'kind'>,
): Promise<string> {
  const tables = family === 4 ? 'iptables' : 'ip6tables';
  const prints = [
    ...(kind === 'nft' ? [] : [[`${tables}-legacy-save`], [`${tables}-nft-save`], ['ipset', 'save']]),
    ...(kind.startsWith('nft') ? [['nft', '-j', 'list', 'ruleset']] : []),
    ['ip', '-o', 'addr'],
    ...['route', 'rule'].map((what) => (family === 4 ? ['ip', what] : ['ip', '-6', what])),
  ];
  const outputs = await lab.onNode(prints.map((argv) => ({ argv })));
  return prints.map((argv, index) => `# peermasq: ${argv.join(' ')}\n${outputs[index] ?? ''}`).join('');
}

/** Loads the rules, and returns what the node's own programs then print. */
async function load(lab: ExplainLab, { id, rules }: CaseBatch): Promise<string> {
  const of = (family: 4 | 6, text: string) => (rules.family === family ? text : emptyTables);
  const old = Object.values(setNames(id - 1)).map((name) => `destroy ${name}\n`);
  const loads = [
    { argv: ['ipset', 'restore'], stdin: rules.sets },
    { argv: ['iptables-legacy-restore'], stdin: of(4, rules.legacy) },
    { argv: ['iptables-nft-restore'], stdin: of(4, rules.nft) },
    { argv: ['ip6tables-legacy-restore'], stdin: of(6, rules.legacy) },
    { argv: ['ip6tables-nft-restore'], stdin: of(6, rules.nft) },
    { argv: ['nft', '-f', '-'], stdin: rules.native },
    // `-exist`: of the first rule set there is none before.
    { argv: ['ipset', '-exist', 'restore'], stdin: old.join('') },
    { argv: ['conntrack', '-F'] },
  ];
  await lab.clearReceived();
  await lab.onNode(loads);
  return printDump(lab, rules);
}

interface ComparedPacket {
  readonly packet: SentPacket;
  readonly agreement: 'certain' | 'inconclusive' | 'disagrees';
  /** The source that the peer saw, or `nothing`. */
  readonly kernel: string;
  readonly expected: readonly string[];
}

async function comparePackets(
  lab: ExplainLab,
  dump: string,
  packets: readonly SentPacket[],
): Promise<ComparedPacket[]> {
  const snapshot = parseSnapshot(dump);
  const expectations = packets.map((packet) => ({ packet, expected: expectedOf(snapshot, packet) }));
  const compareOnce = async () => {
    const seen = await lab.received();
    return expectations.map(({ packet, expected }) =>
      comparePacket(packet, expected, seen.get(packetKeyOf(packet))),
    );
  };
  // The last packets may still be on their way.
  for (let attempt = 1; ; attempt++) {
    const compared = await compareOnce();
    if (attempt === 10 || compared.every(({ agreement }) => agreement !== 'disagrees')) return compared;
  }
}

function comparePacket(packet: SentPacket, expected: readonly string[], kernel = 'nothing'): ComparedPacket {
  const isAny = expected.includes('any') && kernel !== 'nothing';
  const isExpected = isAny || expected.includes(kernel);
  const isCertain = expected.length === 1 && !expected.includes('any');
  return {
    packet,
    agreement: !isExpected ? 'disagrees' : isCertain ? 'certain' : 'inconclusive',
    kernel,
    expected,
  };
}

export function packetOf({ source, destination, ...sent }: SentPacket): Packet {
  return { ...sent, source: parseAddress(source), destination: parseAddress(destination) };
}

/** Every source that the peer may see; `nothing` where nothing may arrive. */
function expectedOf(snapshot: ReturnType<typeof parseSnapshot>, sent: SentPacket): string[] {
  const packet = packetOf(sent);
  const { sources, source } = explain(snapshot, packet);
  const { verdicts } = walk(snapshot, packet);
  const isAnySource =
    source === null &&
    verdicts.some((verdict) => verdict.kind === 'egress' && verdict.translation?.sources.length === 0);
  return [
    ...sources,
    ...(isAnySource ? ['any'] : []),
    ...(verdicts.some(({ kind }) => kind !== 'egress') ? ['nothing'] : []),
  ];
}

/** The command that has the case again, alone, and all that it is about. */
export function describeDisagreement(
  seed: number,
  { id }: CaseBatch,
  dump: string,
  { packet, kernel, expected }: ComparedPacket,
): string {
  return [
    `npm run test:explain -- --seed ${seed} --only ${id}`,
    JSON.stringify(packet),
    `the kernel: ${kernel}; explained: ${expected.join(' or ')}`,
    dump,
  ].join('\n');
}

export function formatTally(
  { cases, certain, inconclusive, disagreements, counts }: ComparisonTally,
  seed: number,
): string {
  const shares = [...counts].sort(([, a], [, b]) => b - a).map(([name, count]) => `${name} ${count}`);
  return [
    `explain: ${cases} cases, seed ${seed}, ${disagreements.length} disagree, ${certain} certain, ${inconclusive} open (kernel's answer among those followed)`,
    `  ${shares.join(', ')}`,
  ].join('\n');
}
