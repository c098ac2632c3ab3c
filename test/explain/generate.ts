import type { Family } from '../../shared/core/explain/model';
import { Dice } from './dice';
import { emptied, makeSets, makeTables, setNames } from './iptables';
import type { Sent } from './lab';
import { makeNft, noTable } from './nft';
import { makePackets, vocabularies } from './vocabulary';

/** Where the rules are. */
export const kinds = ['iptables-nft', 'iptables-legacy', 'both iptables', 'nft', 'nft and iptables'] as const;
export type Kind = (typeof kinds)[number];

export interface RuleSetText {
  readonly kind: Kind;
  readonly family: Family;
  readonly sets: string;
  readonly legacy: string;
  readonly nft: string;
  readonly native: string;
}

export interface Batch {
  readonly id: number;
  readonly rules: RuleSetText;
  readonly packets: readonly Sent[];
}

/** Rules and packets that depend on nothing but the seed and the number: each can be had again alone. */
export function makeBatch(seed: number, id: number, count: number): Batch {
  const dice = new Dice(seed ^ Math.imul(id, 0x9e3779b1));
  const words = vocabularies[dice.chance(0.15) ? 6 : 4];
  const kind = dice.pick([...kinds, 'iptables-nft', 'both iptables', 'nft'] as const);
  const names = setNames(id);
  const tables = (...of: readonly Kind[]) => (of.includes(kind) ? makeTables(dice, words, names) : emptied);
  const rules = {
    ...{ kind, family: words.family },
    sets: makeSets(dice, words, names),
    legacy: tables('iptables-legacy', 'both iptables'),
    nft: tables('iptables-nft', 'both iptables', 'nft and iptables'),
    native: kind.startsWith('nft') ? makeNft(dice, words) : noTable,
  };
  return { id, rules, packets: makePackets(dice, count, words) };
}
