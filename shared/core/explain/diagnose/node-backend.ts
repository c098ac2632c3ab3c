import type { Backend, BaseChain, Table } from '../model';
import type { Evaluation } from '../simulate/trace';
import type { Snapshot } from '../snapshot';
import { backendOfTable } from './program';

/**
 * Whether the table belongs to peermasq. In iptables, peermasq's rule set is a chain; in nft, it is a separate table.
 */
const isPeermasqTable = ({ nft }: Table) => nft?.name === 'peermasq';

export const isPeermasqRule = ({ baseChain, chain }: Pick<Evaluation, 'baseChain' | 'chain'>) =>
  chain.name === 'PEERMASQ' || isPeermasqTable(baseChain.table);

const isPeermasqChain = ({ table, isNat }: BaseChain) =>
  isNat && (table.chains.has('PEERMASQ') || isPeermasqTable(table));

/** The backends that contain peermasq's rules. */
export const peermasqBackends = ({ baseChains }: Snapshot): ReadonlySet<Backend> =>
  new Set(baseChains.filter(isPeermasqChain).map(({ table }) => backendOfTable(table)));

/** The kubelet creates these chains in table mangle, so that other programs can detect which backend it uses. */
const kubeletHintChains = ['KUBE-IPTABLES-HINT', 'KUBE-KUBELET-CANARY'];

/** Returns the kubelet's backend or, if that is unknown, the backend with the most rules in table nat. */
export function nodeBackendOf({ baseChains }: Snapshot): Backend | undefined {
  const hints = new Set(
    baseChains
      .filter(({ table }) => kubeletHintChains.some((hint) => table.chains.has(hint)))
      .map(({ table }) => backendOfTable(table)),
  );
  const [hinted] = hints;
  if (hinted !== undefined && hints.size === 1) return hinted;
  const counts = new Map<Backend, number>();
  const readable = baseChains.filter(({ isNat, unreadable }) => isNat && unreadable === undefined);
  for (const table of new Set(readable.map((baseChain) => baseChain.table))) {
    const backend = backendOfTable(table);
    const count = countOwnRules(table);
    if (count > 0) counts.set(backend, (counts.get(backend) ?? 0) + count);
  }
  const [most] = [...counts].sort(([, a], [, b]) => b - a);
  return most?.[0] ?? hinted;
}

/** Counts the rules of all programs except peermasq. */
function countOwnRules(table: Table): number {
  if (isPeermasqTable(table)) return 0;
  const rules = [...table.chains.values()].flatMap((chain) => chain.rules);
  return rules.filter(({ text }) => !text.includes('PEERMASQ')).length;
}

/**
 * Returns the node's backend. If no rule in the dump identifies the backend, returns a backend whose output the dump
 * contains.
 */
export function backendOf(snapshot: Snapshot): Backend {
  const { backends } = snapshot;
  const printed = (['iptables-nft', 'iptables-legacy', 'iptables', 'nft'] as const).find((one) =>
    backends.has(one),
  );
  return nodeBackendOf(snapshot) ?? printed ?? 'iptables';
}
