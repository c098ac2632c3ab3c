import { explain } from '../../../../shared/core/explain/explain';
import { DumpError } from '../../../../shared/core/explain/model';
import { parseSnapshot } from '../../../../shared/core/explain/parse/snapshot';
import { tryParse } from '../../../../shared/core/util/functional';
import { loadBatch, packetOf, type CompareOptions } from './compare';
import { makeBatch, type CaseBatch } from './generate';
import { openExplainLab, packetKeyOf, type ExplainLab, type SentPacket } from './lab';
import { SeededRandom } from './random';

export interface CutTally {
  readonly cases: number;
  readonly certain: number;
  /** The number of cases in which the rest of the dump is rejected. */
  readonly rejected: number;
  readonly disagreements: readonly string[];
}

const packetsPerRuleSet = 12;
const cutsPerRuleSet = 4;

/** Removes a random part of a node's snapshot, and compares certain answers with what the kernel did. */
export async function checkCuts({ cases, seed, only }: CompareOptions): Promise<CutTally> {
  const lab = await openExplainLab();
  const tally = { cases: 0, certain: 0, rejected: 0, disagreements: [] as string[] };
  try {
    for (let id = only ?? 1; tally.cases < cases && (only ?? id) === id; id++) {
      const batch = makeBatch(seed, id, packetsPerRuleSet);
      for (const { answer, text } of await checkBatch(lab, batch, new SeededRandom(seed + id))) {
        tally.cases += 1;
        if (answer === 'certain') tally.certain += 1;
        if (answer === 'rejected') tally.rejected += 1;
        if (answer === 'wrong')
          tally.disagreements.push(`npm run test:explain -- --seed ${seed} --only ${id}\n${text}`);
      }
    }
  } finally {
    await lab.close();
  }
  return tally;
}

interface CheckedCut {
  readonly answer: 'certain' | 'unknown' | 'rejected' | 'wrong';
  readonly text: string;
}

async function checkBatch(lab: ExplainLab, batch: CaseBatch, random: SeededRandom): Promise<CheckedCut[]> {
  await loadBatch(lab, batch);
  const lines = (await printSnapshot(lab, batch.rules.family)).trimEnd().split('\n');
  await lab.send(batch.packets);
  // The last packets may still be on their way.
  await new Promise((resolve) => setTimeout(resolve, 50));
  const received = await lab.received();
  const cuts = Array.from({ length: cutsPerRuleSet }, () => removePart(lines, random));
  return cuts.flatMap((dump) =>
    batch.packets.map((packet) => checkAnswer(dump, packet, received.get(packetKeyOf(packet)) ?? 'nothing')),
  );
}

/** Prints what the snapshot command does: every command with the number of its lines. */
async function printSnapshot(lab: ExplainLab, family: 4 | 6): Promise<string> {
  const tables = family === 4 ? 'iptables' : 'ip6tables';
  const commands = [
    `${tables}-nft-save`,
    `${tables}-legacy-save`,
    'nft -j list ruleset',
    'ipset save',
    'ip -o addr',
    `ip -${family} route show table all`,
    `ip -${family} rule`,
  ];
  const outputs = await lab.onNode(commands.map((command) => ({ argv: command.split(' ') })));
  return commands
    .map((command, index) => {
      const output = outputs[index] ?? '';
      const count = output.split('\n').filter((line) => line.trim() !== '').length;
      return `# peermasq: ${command} (${count} lines)\n${output}`;
    })
    .join('');
}

/** Removes a few lines, one command with its output, or everything from some line on. */
function removePart(lines: readonly string[], random: SeededRandom): string {
  const start = random.integerBelow(lines.length);
  const isMarker = (line: string) => line.startsWith('# peermasq: ');
  const sectionStart = lines.findLastIndex((line, index) => index <= start && isMarker(line));
  const nextSection = lines.findIndex((line, index) => index > start && isMarker(line));
  const ranges = [
    [start, start + 1 + random.integerBelow(5)],
    [start, start + random.integerBelow(lines.length)],
    [start, lines.length],
    [sectionStart, nextSection < 0 ? lines.length : nextSection],
  ] as const;
  const [from, to] = random.pick(ranges);
  return [...lines.slice(0, from), ...lines.slice(to), ''].join('\n');
}

function checkAnswer(dump: string, sent: SentPacket, kernel: string): CheckedCut {
  const snapshot = tryParse(
    () => parseSnapshot(dump),
    (error) => error instanceof DumpError,
  );
  if (!snapshot) return { answer: 'rejected', text: '' };
  const { masqueraded, source, sources, cause, mayBeDropped } = explain(snapshot, packetOf(sent));
  const text = [
    JSON.stringify(sent),
    `kernel: ${kernel}; explain: masqueraded ${masqueraded}, ${cause}, ${source ?? sources.join(' or ')}`,
    dump,
  ].join('\n');
  if (masqueraded === 'unknown') return { answer: 'unknown', text };
  const leaves = cause !== 'dropped' && cause !== 'stays-on-node';
  if (kernel === 'nothing') return { answer: !leaves || mayBeDropped ? 'certain' : 'wrong', text };
  const isExpected = leaves && (source === null || source === kernel);
  return { answer: isExpected ? 'certain' : 'wrong', text };
}

export const formatCutTally = ({ cases, certain, rejected, disagreements }: CutTally): string =>
  `cut snapshots: ${cases} cases, ${disagreements.length} disagree, ${certain} certain, ${rejected} rejected, ${cases - certain - rejected - disagreements.length} unknown`;
