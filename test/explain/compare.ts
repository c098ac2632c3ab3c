import { explain } from '../../shared/core/explain/explain';
import type { Packet } from '../../shared/core/explain/packet';
import { parseSnapshot } from '../../shared/core/explain/snapshot';
import { walk } from '../../shared/core/explain/walk';
import { parseAddress } from '../../shared/core/cidr';
import { Dice, makePackets, makeRuleSet, type RuleSetText } from './generate';
import { type ExplainLab, keyOf, openExplainLab, type Sent } from './lab';

export interface Tally {
  readonly cases: number;
  readonly certain: number;
  /** The kernel's answer is among several. */
  readonly open: number;
  readonly disagreements: readonly string[];
}

const packetsPerRuleSet = 20;

/** Sends `cases` random packets through random rules, and asks the simulator about each. */
export async function compare(cases: number, seed: number): Promise<Tally> {
  const lab = await openExplainLab();
  try {
    return await compareIn(lab, cases, new Dice(seed), seed);
  } finally {
    await lab.close();
  }
}

async function compareIn(lab: ExplainLab, cases: number, dice: Dice, seed: number): Promise<Tally> {
  const tally = { cases: 0, certain: 0, open: 0, disagreements: [] as string[] };
  for (let id = 1; tally.cases < cases; id++) {
    const rules = makeRuleSet(dice, id);
    const packets = makePackets(dice, Math.min(packetsPerRuleSet, cases - tally.cases));
    const dump = await load(lab, rules, id);
    await lab.send(packets);
    const judged = await judge(lab, dump, packets);
    for (const { packet, verdict, kernel, expected } of judged) {
      tally.cases += 1;
      if (verdict === 'certain') tally.certain += 1;
      else if (verdict === 'open') tally.open += 1;
      else tally.disagreements.push(reproduction(seed, id, dump, packet, kernel, expected));
    }
  }
  return tally;
}

/** Loads the rules, and returns what the node's own programs then print. */
async function load(lab: ExplainLab, { sets, legacy, nft }: RuleSetText, id: number): Promise<string> {
  const loads = [
    { argv: ['ipset', 'restore'], stdin: sets },
    { argv: ['iptables-legacy-restore'], stdin: legacy },
    { argv: ['iptables-nft-restore'], stdin: nft },
  ];
  const old = ['list', 'net', 'ip', 'port', 'pair'].map((name) => `destroy ${name}${id - 1}\n`).join('');
  const sweep = [
    ...(id > 1 ? [{ argv: ['ipset', 'restore'], stdin: old }] : []),
    { argv: ['conntrack', '-F'] },
  ];
  const prints = [
    ['iptables-legacy-save'],
    ['iptables-nft-save'],
    ['ipset', 'save'],
    ['ip', '-o', 'addr'],
    ['ip', 'route'],
  ];
  await lab.forget();
  const outputs = await lab.onNode([...loads, ...sweep, ...prints.map((argv) => ({ argv }))]);
  return prints
    .map(
      (argv, index) => `# peermasq: ${argv.join(' ')}\n${outputs[loads.length + sweep.length + index] ?? ''}`,
    )
    .join('');
}

interface Judged {
  readonly packet: Sent;
  readonly verdict: 'certain' | 'open' | 'disagrees';
  /** The source that the peer saw; undefined where nothing arrived. */
  readonly kernel: string | undefined;
  readonly expected: readonly string[];
}

async function judge(lab: ExplainLab, dump: string, packets: readonly Sent[]): Promise<Judged[]> {
  const snapshot = parseSnapshot(dump);
  const answers = packets.map((packet) => expectedOf(snapshot, packet));
  const look = async () => {
    const seen = await lab.received();
    return packets.map((packet, index): Judged => {
      const kernel = seen.get(keyOf(packet));
      const expected = answers[index] ?? [];
      const isExpected = expected.includes('any')
        ? kernel !== undefined
        : expected.includes(kernel ?? 'nothing');
      const isCertain = expected.length === 1 && !expected.includes('any');
      const verdict =
        !isExpected && !(expected.includes('nothing') && kernel === undefined)
          ? 'disagrees'
          : isCertain
            ? 'certain'
            : 'open';
      return { packet, verdict, kernel, expected };
    });
  };
  // The last packets may still be on their way.
  for (let attempt = 1; ; attempt++) {
    const judged = await look();
    if (attempt === 10 || judged.every(({ verdict }) => verdict !== 'disagrees')) return judged;
  }
}

/** Every source that the peer may see; `nothing` where nothing may arrive. */
function expectedOf(snapshot: ReturnType<typeof parseSnapshot>, sent: Sent): string[] {
  const packet: Packet = {
    source: parseAddress(sent.source),
    destination: parseAddress(sent.destination),
    protocol: sent.protocol,
    sourcePort: sent.sourcePort,
    destinationPort: sent.destinationPort,
    isFromNode: sent.isFromNode,
  };
  const { sources, source } = explain(snapshot, packet);
  const { fates } = walk(snapshot, packet);
  const isOpen =
    source === null && fates.some((fate) => fate.kind === 'leaves' && fate.translation?.sources.length === 0);
  return [
    ...sources,
    ...(isOpen ? ['any'] : []),
    ...(fates.some(({ kind }) => kind !== 'leaves') ? ['nothing'] : []),
  ];
}

function reproduction(
  seed: number,
  id: number,
  dump: string,
  packet: Sent,
  kernel: string | undefined,
  expected: readonly string[],
): string {
  return [
    `seed ${seed}, rule set ${id}: ${JSON.stringify(packet)}`,
    `the kernel: ${kernel ?? 'nothing arrives'}; explained: ${expected.join(' or ')}`,
    dump,
  ].join('\n');
}

export function inWords({ cases, certain, open, disagreements }: Tally, seed: number): string {
  return `explain: ${cases} cases, seed ${seed}, ${disagreements.length} disagree, ${certain} certain, ${open} open (kernel's answer among those followed)`;
}
