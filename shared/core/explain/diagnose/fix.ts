import type { Want } from '../explanation';
import type { BaseChain } from '../model';
import type { Packet } from '../simulate/packet';
import type { EgressVerdict, Evaluation, Trace } from '../simulate/trace';
import { egressOf, walk } from '../simulate/walk';
import { replaceRules } from '../simulate/what-if';
import type { Snapshot } from '../snapshot';
import { formatFix, masqueradeChain } from './fix-command';
import { destinationOf, insert, type Insertion, type InsertionDestination, type Service } from './insertion';
import { backendOf, isPeermasqRule } from './node-backend';
import { backendOfTable } from './program';

/** The maximum number of rules in a fix. */
const maxInsertions = 6;

export interface FixRequest {
  readonly snapshot: Snapshot;
  readonly packet: Packet;
  readonly want: Want;
}

/**
 * Returns a command after which the packet leaves the node as wanted, or undefined if no added rule would do that. Each
 * added rule is simulated: if another rule still stands in the way, a rule is added for that one as well.
 */
export function findFix({ snapshot, packet, want }: FixRequest): string | undefined {
  const insertions: Insertion[] = [];
  let current = snapshot;
  for (;;) {
    const trace = walk(current, packet);
    if (leavesAsWanted(trace, packet, want))
      return insertions.length === 0 ? undefined : formatFix(insertions);
    const next = nextInsertion({ snapshot: current, packet, want }, trace);
    if (!next || insertions.length === maxInsertions) return undefined;
    insertions.push(next);
    current = insert(current, next);
  }
}

/**
 * Returns a command that masquerades the packet in the node's own backend, for a packet that only peermasq's rules in
 * another backend masquerade.
 */
export function findFixWithoutPeermasq({ snapshot, packet }: Omit<FixRequest, 'want'>): string | undefined {
  const chains = snapshot.baseChains.flatMap((baseChain) =>
    [...baseChain.table.chains.values()].filter((chain) => isPeermasqRule({ baseChain, chain })),
  );
  const without = replaceRules(snapshot, new Map(chains.map((chain) => [chain, []])));
  return findFix({ snapshot: without, packet, want: 'masqueraded' });
}

/** The node's own packets have an address of the node already. */
function leavesAsWanted(trace: Trace, { isFromNode }: Packet, want: Want): boolean {
  const egress = egressOf(trace);
  if (egress.length === 0) return false;
  if (want === 'direct') return egress.every(({ translation }) => translation === undefined);
  return isFromNode || egress.every(({ translation }) => translation !== undefined);
}

function nextInsertion(request: FixRequest, trace: Trace): Insertion | undefined {
  const egress = egressOf(trace);
  if (egress.length === 0) return letThrough(request, trace);
  return request.want === 'direct' ? exempt(request, trace, egress) : masquerade(request, trace, egress);
}

/** Accepts the packet in the chain that drops it. */
function letThrough({ packet }: FixRequest, { verdicts }: Trace): Insertion | undefined {
  const drops = verdicts.flatMap((verdict) => (verdict.kind === 'dropped' && verdict.at ? [verdict.at] : []));
  const [first] = drops;
  if (!first) return undefined;
  const { baseChain } = first;
  const states = drops.filter((drop) => drop.baseChain === baseChain).map(({ state }) => state);
  const ports = new Set(states.map(({ destinationPort }) => destinationPort));
  const [port] = ports;
  const service = { protocol: packet.protocol, port: ports.size === 1 ? port : undefined };
  return accept(packet, baseChain, { destination: destinationOf(states, packet), service });
}

function accept(
  packet: Packet,
  at: BaseChain,
  { destination, service }: { destination: InsertionDestination; service?: Service },
): Insertion {
  const { family, value } = packet.source;
  return { at, verdict: 'accept', family, source: value, destination, service };
}

/** Accepts the packet in the chain whose rules change its source, before they do. */
function exempt(
  { packet }: FixRequest,
  { evaluations }: Trace,
  egress: readonly EgressVerdict[],
): Insertion | undefined {
  const translated = egress.filter(({ translation }) => translation !== undefined);
  const translating = evaluations.find(({ rule }) =>
    translated.some(({ translation }) => translation?.by === rule),
  );
  if (!translating) return undefined;
  const { baseChain } = translating;
  const rules = new Set(evaluations.filter((each) => each.baseChain === baseChain).map(({ rule }) => rule));
  const states = translated.filter(({ translation }) => translation && rules.has(translation.by));
  return accept(packet, baseChain, { destination: destinationOf(states, packet) });
}

function masquerade(
  { snapshot, packet }: FixRequest,
  { evaluations }: Trace,
  egress: readonly EgressVerdict[],
): Insertion | undefined {
  const direct = egress.filter(({ translation }) => translation === undefined);
  const untracked = direct.filter(({ isTracked }) => !isTracked);
  if (untracked.length > 0) return keepTracked(packet, evaluations);
  const { family, value: source } = packet.source;
  const destination = destinationOf(direct, packet);
  return {
    at: findMasqueradeChain(snapshot, packet),
    verdict: 'masquerade',
    family,
    source,
    destination,
    service: undefined,
  };
}

/** Untracked packets never reach chains of type nat, so the packet skips the chain that turns tracking off. */
function keepTracked(packet: Packet, evaluations: readonly Evaluation[]): Insertion | undefined {
  const notrack = evaluations.find(
    ({ rule, matched }) => matched !== false && rule.targets.some(({ kind }) => kind === 'notrack'),
  );
  return (
    notrack && accept(packet, notrack.baseChain, { destination: destinationOf([notrack.state], packet) })
  );
}

function findMasqueradeChain(snapshot: Snapshot, { source: { family } }: Packet): BaseChain {
  const chain = masqueradeChain(backendOf(snapshot), family);
  const existing = snapshot.baseChains.find(
    ({ table, chain: { name }, isNat, hook, unreadable }) =>
      isNat &&
      hook === 'postrouting' &&
      unreadable === undefined &&
      name === chain.chain.name &&
      table.families.includes(family) &&
      backendOfTable(table) === chain.table.backend &&
      (table.nft?.name ?? table.name) === (chain.table.nft?.name ?? chain.table.name),
  );
  return existing ?? chain;
}
