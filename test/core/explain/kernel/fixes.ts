import { explain } from '../../../../shared/core/explain/explain';
import type { Explanation, Want } from '../../../../shared/core/explain/explanation';
import { parseSnapshot } from '../../../../shared/core/explain/parse/snapshot';
import { loadBatch, packetOf, printDump, reproduceWith, type CompareOptions } from './compare';
import { makeBatch, type CaseBatch } from './generate';
import { packetKeyOf, openExplainLab, type ExplainLab, type SentPacket } from './lab';

export interface FixTally {
  /** The number of fixes that were loaded, by what they are for. */
  readonly counts: ReadonlyMap<FixKind, number>;
  readonly disagreements: readonly string[];
}

type FixKind = 'masquerade' | 'direct' | 'let through';

const packetsPerRuleSet = 12;

/**
 * Loads explain's fixes, and compares the kernel's next packets with what was wanted: a masqueraded packet direct,
 * and any other masqueraded.
 */
export async function checkFixes({ cases, seed, only }: CompareOptions): Promise<FixTally> {
  const lab = await openExplainLab();
  const counts = new Map<FixKind, number>();
  const disagreements: string[] = [];
  const total = () => [...counts.values()].reduce((sum, count) => sum + count, 0);
  try {
    for (let id = only ?? 1; total() < cases && (only ?? id) === id; id++) {
      const batch = makeBatch(seed, id, packetsPerRuleSet);
      const checked = await checkBatch(lab, batch);
      for (const { kind, problem } of checked.slice(0, cases - total())) {
        counts.set(kind, (counts.get(kind) ?? 0) + 1);
        if (problem !== undefined) disagreements.push(`${reproduceWith(seed, id)}\n${problem}`);
      }
    }
  } finally {
    await lab.close();
  }
  return { counts, disagreements };
}

interface CheckedFix {
  readonly kind: FixKind;
  /** Undefined if the fix does what it should. */
  readonly problem: string | undefined;
}

async function checkBatch(lab: ExplainLab, batch: CaseBatch): Promise<CheckedFix[]> {
  const dump = await loadBatch(lab, batch);
  const fixes = explainFixes(dump, batch.packets);
  if (fixes.length === 0) return [];
  await lab.onNode(fixes.map(({ fix }) => ({ argv: ['sh', '-c', fix] })));
  await lab.send(fixes.map(({ packet }) => packet));
  const fixed = await printDump(lab, batch.rules);
  const isListed = await canList(lab, batch);
  const received = await lab.received();
  return fixes.map(({ packet, want, kind, fix }) => {
    const kernel = received.get(packetKeyOf(packet)) ?? 'nothing';
    const problems = [
      ...problemsOf(explainPacket(fixed, packet, want), { packet, want, kind, fix, kernel }),
      ...(fixed.includes('incompatible') ? ['iptables-save no longer prints a table'] : []),
      ...(isListed ? [] : ['iptables -t nat -L fails']),
    ];
    const text = [JSON.stringify(packet), `${want}: ${fix}`, ...problems, dump].join('\n');
    return { kind, problem: problems.length === 0 ? undefined : text };
  });
}

interface PacketFix {
  readonly packet: SentPacket;
  readonly want: Want;
  readonly kind: FixKind;
  readonly fix: string;
}

/** Returns fixes for packets whose way through the node is certain. No two fixes are about the same destination. */
function explainFixes(dump: string, packets: readonly SentPacket[]): PacketFix[] {
  const seen = new Set<string>();
  return packets.flatMap((packet) => {
    const fix = explainFix(dump, packet);
    if (!fix) return [];
    const addresses = [packet.destination, ...addressesIn(fix.fix)];
    const destinations = addresses.filter((address) => address !== packet.source);
    if (destinations.some((address) => seen.has(address))) return [];
    for (const address of destinations) seen.add(address);
    return [{ packet, ...fix }];
  });
}

const explainPacket = (dump: string, packet: SentPacket, want: Want): Explanation =>
  explain(parseSnapshot(dump), packetOf(packet), { want });

/** Returns a fix for a packet whose way through the node is certain. */
function explainFix(dump: string, packet: SentPacket) {
  const { masqueraded, mayBeDropped, cause } = explainPacket(dump, packet, 'masqueraded');
  if (masqueraded === 'unknown' || mayBeDropped) return undefined;
  const want: Want = masqueraded ? 'direct' : 'masqueraded';
  const { fix } = explainPacket(dump, packet, want);
  if (fix === null) return undefined;
  if (cause === 'dropped') return { fix, want, kind: 'let through' } as const;
  return { fix, want, kind: want === 'direct' ? 'direct' : 'masquerade' } as const;
}

/** Whether `iptables -t nat -L` works for both backends. */
async function canList(lab: ExplainLab, { rules: { family } }: CaseBatch): Promise<boolean> {
  const program = family === 6 ? 'ip6tables' : 'iptables';
  const list = (backend: string) => `${program}-${backend} -t nat -L -n >/dev/null 2>&1`;
  const check = `${list('nft')} && ${list('legacy')} && echo yes || echo no`;
  const [answer = ''] = await lab.onNode([{ argv: ['sh', '-c', check] }]);
  return answer.trim() === 'yes';
}

const addressesIn = (fix: string): string[] => fix.match(/[\da-f]+[.:][\da-f.:]+/g) ?? [];

interface FixedPacket extends PacketFix {
  /** The source address that the peer received, or `nothing`. */
  readonly kernel: string;
}

function problemsOf(explanation: Explanation, { packet, want, kind, fix, kernel }: FixedPacket): string[] {
  const { masqueraded, sources, cause, reason, path } = explanation;
  const isDirect = kernel === packet.source;
  const isAsWanted = packet.isFromNode ? kernel !== 'nothing' : isDirect === (want === 'direct');
  const namesRule = path.some(
    ({ text, result }) =>
      result === 'matched' &&
      text.includes(packet.source) &&
      addressesIn(fix).some((address) => address !== packet.source && text.includes(address)),
  );
  const isExpected = masqueraded === 'unknown' || sources.includes(kernel) || kind === 'let through';
  return [
    ...(kernel === 'nothing' || !isAsWanted ? [`kernel: ${kernel}`] : []),
    ...(isExpected ? [] : [`explain on the new state: ${sources.join(' or ')}, kernel: ${kernel}`]),
    ...(namesRule ? [] : [`explain on the new state does not name the new rule: ${cause}, ${reason}`]),
  ];
}

export function formatFixTally({ counts, disagreements }: FixTally): string {
  const shares = [...counts].map(([kind, count]) => `${kind} ${count}`).join(', ');
  return `fixes: ${shares}, ${disagreements.length} disagree`;
}
