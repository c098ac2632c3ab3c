import { parseAddress } from '../../../../shared/core/model/cidr';
import { explain } from '../../../../shared/core/explain/explain';
import type { Packet } from '../../../../shared/core/explain/simulate/packet';
import { parseSnapshot } from '../../../../shared/core/explain/parse/snapshot';
import { egressOf, walk } from '../../../../shared/core/explain/simulate/walk';
import type { Snapshot } from '../../../../shared/core/explain/snapshot';
import { tryParse } from '../../../../shared/core/util/functional';
import { printedForms, printForm, type PrintedForm } from './forms';
import { type CaseBatch, makeBatch, type RuleSetText } from './generate';
import { emptyTables, setNames } from './generate-iptables';
import { type ExplainLab, packetKeyOf, openExplainLab, type SentPacket } from './lab';
import { checkOverview } from './overviews';

export interface ComparisonTally {
  readonly cases: number;
  readonly certain: number;
  /** The number of cases in which explain found several possible results, including the kernel's result. */
  readonly inconclusive: number;
  readonly disagreements: readonly string[];
  /** The number of cases for each backend, address family and protocol. */
  readonly counts: ReadonlyMap<string, number>;
  /** The same cases, read back from the forms in which people show rules. */
  readonly forms: ReadonlyMap<string, FormTally>;
  /** The number of destinations for which the overview was compared with a single question. */
  readonly overviewDestinations: number;
}

export interface FormTally {
  readonly cases: number;
  readonly certain: number;
}

export interface CompareOptions {
  readonly cases: number;
  readonly seed: number;
  /** The number of the batch to run; absent to run all batches. */
  readonly only?: number | undefined;
}

const packetsPerRuleSet = 12;

/** The name under which cases with routing rules are counted. */
export const policyRouting = 'policy routing';

/** Sends random packets through random rules, and compares the kernel's results with the simulator's. */
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
  const forms = new Map<string, FormTally>();
  let overviewDestinations = 0;
  for (let id = only ?? 1; tally.cases < cases && (only ?? id) === id; id++) {
    const batch = makeBatch(seed, id, Math.min(packetsPerRuleSet, cases - tally.cases));
    const dump = await loadBatch(lab, batch);
    await lab.send(batch.packets);
    const results = await comparePackets(lab, dump, batch.packets);
    const overviews = batch.packets.slice(0, 1).map((packet) => checkOverview(dump, packet, seed ^ id));
    for (const { destinations, disagreements } of overviews) {
      overviewDestinations += destinations;
      tally.disagreements.push(...disagreements.map((text) => `${reproduceWith(seed, id)}\n${text}`));
    }
    for (const form of formsOf(id)) {
      const text = await printForm(lab, batch.rules, form);
      const read = text === '' ? [] : results.map((compared) => compareForm(text, compared));
      const { cases: before = 0, certain = 0 } = forms.get(form.name) ?? {};
      const isCertain = ({ agreement }: ComparedPacket) => agreement === 'certain';
      forms.set(form.name, { cases: before + read.length, certain: certain + read.filter(isCertain).length });
      for (const compared of read)
        if (compared.agreement === 'disagrees')
          tally.disagreements.push(describeDisagreement(compared, { seed, id, dump: text }));
    }
    for (const compared of results) {
      tally.cases += 1;
      if (compared.agreement === 'certain') tally.certain += 1;
      else if (compared.agreement === 'inconclusive') tally.inconclusive += 1;
      else tally.disagreements.push(describeDisagreement(compared, { seed, id, dump }));
      const { kind, family, hasPolicyRouting } = batch.rules;
      const routing = hasPolicyRouting ? [policyRouting] : [];
      for (const name of [kind, ...routing, `IPv${family}`, compared.packet.protocol.replace('v6', '')])
        counts.set(name, (counts.get(name) ?? 0) + 1);
    }
  }
  return { ...tally, counts, forms, overviewDestinations };
}

/** The forms in which a batch is also read back: each batch takes other forms, so that all are read equally often. */
const formsOf = (id: number): readonly PrintedForm[] =>
  [0, 3, 6].flatMap((offset) => printedForms[(id + offset) % printedForms.length] ?? []);

/** Compares the answer from another form with what the kernel did. */
function compareForm(text: string, { packet, kernel }: ComparedPacket): ComparedPacket {
  const expected = tryParse(() => expectedOf(parseSnapshot(text), packet)) ?? ['an error'];
  return comparePacket(packet, expected, kernel);
}

/** Prints the output of each dump command for the node's backend, after a line that names the command. */
export async function printDump(
  lab: ExplainLab,
  { family, kind }: Pick<RuleSetText, 'family' | 'kind'>,
): Promise<string> {
  const tables = family === 4 ? 'iptables' : 'ip6tables';
  const ip = ['ip', `-${family}`];
  const prints = [
    ...(kind === 'nft' ? [] : [[`${tables}-legacy-save`], [`${tables}-nft-save`], ['ipset', 'save']]),
    ...(kind.startsWith('nft') ? [['nft', '-j', 'list', 'ruleset']] : []),
    ['ip', '-o', 'addr'],
    [...ip, 'route', 'show', 'table', 'all'],
    [...ip, 'rule'],
  ];
  const outputs = await lab.onNode(prints.map((argv) => ({ argv })));
  return prints.map((argv, index) => `# peermasq: ${argv.join(' ')}\n${outputs[index] ?? ''}`).join('');
}

/**
 * Loads a batch's rules on the node.
 * @returns the node's dump after that
 */
export async function loadBatch(lab: ExplainLab, { id, rules }: CaseBatch): Promise<string> {
  const of = (family: 4 | 6, text: string) => (rules.family === family ? text : emptyTables);
  const old = Object.values(setNames(id - 1)).map((name) => `destroy ${name}\n`);
  const loads = [
    { argv: ['ipset', 'restore'], stdin: rules.sets },
    { argv: ['iptables-legacy-restore'], stdin: of(4, rules.legacy) },
    { argv: ['iptables-nft-restore'], stdin: of(4, rules.nft) },
    { argv: ['ip6tables-legacy-restore'], stdin: of(6, rules.legacy) },
    { argv: ['ip6tables-nft-restore'], stdin: of(6, rules.nft) },
    { argv: ['nft', '-f', '-'], stdin: rules.native },
    // Uses `-exist`, because no sets exist before the first batch.
    { argv: ['ipset', '-exist', 'restore'], stdin: old.join('') },
    // Ignores the commands that fail, such as those that add a route twice.
    { argv: ['sh'], stdin: `exec 2>/dev/null\n${rules.routing}\ntrue\n` },
    { argv: ['conntrack', '-F'] },
  ];
  await lab.clearReceived();
  await lab.onNode(loads);
  return printDump(lab, rules);
}

interface ComparedPacket {
  readonly packet: SentPacket;
  readonly agreement: 'certain' | 'inconclusive' | 'disagrees';
  /** The source address that the peer received, or `nothing`. */
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
  // Tries again, because the last packets may not have arrived yet.
  for (let attempt = 1; ; attempt++) {
    const compared = await compareOnce();
    if (attempt === 10 || compared.every(({ agreement }) => agreement !== 'disagrees')) return compared;
  }
}

function comparePacket(packet: SentPacket, expected: readonly string[], kernel = 'nothing'): ComparedPacket {
  return { packet, agreement: agreementOf(expected, kernel), kernel, expected };
}

function agreementOf(expected: readonly string[], kernel: string): ComparedPacket['agreement'] {
  const isAny = expected.includes('any') && kernel !== 'nothing';
  if (!isAny && !expected.includes(kernel)) return 'disagrees';
  return expected.length === 1 && !expected.includes('any') ? 'certain' : 'inconclusive';
}

export function packetOf({ source, destination, ...sent }: SentPacket): Packet {
  return { ...sent, source: parseAddress(source), destination: parseAddress(destination) };
}

/**
 * Returns every source address that, according to explain, the packet may have when it arrives. The result includes
 * `nothing` if the packet may be dropped.
 */
function expectedOf(snapshot: Snapshot, sent: SentPacket): string[] {
  const packet = packetOf(sent);
  const { sources, source } = explain(snapshot, packet);
  const trace = walk(snapshot, packet);
  const expected = [...sources];
  const isAnySource =
    source === null && egressOf(trace).some(({ translation }) => translation?.sources.length === 0);
  if (isAnySource) expected.push('any');
  if (trace.verdicts.some(({ kind }) => kind !== 'egress')) expected.push('nothing');
  return expected;
}

/** Describes a disagreement. The first line is the command that reproduces the case. */
export function describeDisagreement(
  { packet, kernel, expected }: ComparedPacket,
  { seed, id, dump }: { seed: number; id: number; dump: string },
): string {
  return [
    reproduceWith(seed, id),
    JSON.stringify(packet),
    `kernel: ${kernel}; explain: ${expected.join(' or ')}`,
    dump,
  ].join('\n');
}

/** Returns the command that runs one batch again. */
export const reproduceWith = (seed: number, id: number): string =>
  `npm run test:explain -- --seed ${seed} --only ${id}`;

export function formatTally(
  { cases, certain, inconclusive, disagreements, counts, forms, overviewDestinations }: ComparisonTally,
  seed: number,
): string {
  const shares = [...counts].sort(([, a], [, b]) => b - a).map(([name, count]) => `${name} ${count}`);
  return [
    `explain: ${cases} cases, seed ${seed}, ${disagreements.length} disagree, ${certain} certain, ${inconclusive} inconclusive (the kernel's result is one of several)`,
    `  ${shares.join(', ')}`,
    `  read back: ${[...forms].map(([name, form]) => `${name}: ${form.cases} cases, ${form.certain} certain`).join('; ')}`,
    `  overview: ${overviewDestinations} destinations compared with single questions`,
  ].join('\n');
}
