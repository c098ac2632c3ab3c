import type { Family } from '../../../../shared/core/explain/model';
import { SeededRandom } from './random';
import { emptyTables, makeSets, makeTables, setNames } from './generate-iptables';
import type { SentPacket } from './lab';
import { makeNft, deleteLabTables } from './generate-nft';
import { makeRouting, noRouting, type RoutingScript } from './generate-routing';
import { makePackets, addressPools } from './address-pools';

/** Which backends contain the rules of a rule set. */
export const ruleSetKinds = [
  'iptables-nft',
  'iptables-legacy',
  'both iptables',
  'nft',
  'nft and iptables',
] as const;
export type RuleSetKind = (typeof ruleSetKinds)[number];

export interface RuleSetText {
  readonly kind: RuleSetKind;
  readonly family: Family;
  readonly sets: string;
  readonly legacy: string;
  readonly nft: string;
  readonly native: string;
  readonly routing: RoutingScript;
  readonly hasPolicyRouting: boolean;
}

export interface CaseBatch {
  readonly id: number;
  readonly rules: RuleSetText;
  readonly packets: readonly SentPacket[];
}

/**
 * Makes a batch. The result depends only on the seed and the batch number, so that a single batch can be reproduced.
 */
export function makeBatch(seed: number, id: number, count: number): CaseBatch {
  const random = new SeededRandom(seed ^ Math.imul(id, 0x9e3779b1));
  const pool = addressPools[random.chance(0.15) ? 6 : 4];
  const kind = random.pick([...ruleSetKinds, 'iptables-nft', 'both iptables', 'nft'] as const);
  const names = setNames(id);
  const tables = (...of: readonly RuleSetKind[]) =>
    of.includes(kind) ? makeTables(random, pool, names) : emptyTables;
  const hasPolicyRouting = random.chance(0.4);
  const rules = {
    kind,
    family: pool.family,
    sets: makeSets(random, pool, names),
    legacy: tables('iptables-legacy', 'both iptables'),
    nft: tables('iptables-nft', 'both iptables', 'nft and iptables'),
    native: kind.startsWith('nft') ? makeNft(random, pool) : deleteLabTables,
    routing: hasPolicyRouting ? makeRouting(random, pool) : noRouting,
    hasPolicyRouting,
  };
  return { id, rules, packets: makePackets(random, count, pool) };
}
