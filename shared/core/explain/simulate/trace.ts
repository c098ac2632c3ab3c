import type { BaseChain, Chain, Rule, Ternary } from '../model';
import type { MatchContext, PacketState, Translation } from './packet-state';

/** One of the ways in which the packet's path through the node may end. */
export type Verdict =
  | {
      readonly kind: 'egress';
      readonly translation: Translation | undefined;
      readonly out: string | undefined;
      /** The destination after translation. `undefined` means unknown. */
      readonly destination: bigint | undefined;
      readonly destinationPort: number | undefined;
    }
  | { readonly kind: 'local' }
  | { readonly kind: 'dropped'; readonly by: string };

export type EgressVerdict = Extract<Verdict, { kind: 'egress' }>;

/** The evaluation of a rule that the packet reached. */
export interface Evaluation {
  readonly baseChain: BaseChain;
  readonly chain: Chain;
  readonly rule: Rule;
  readonly matched: Ternary;
  readonly state: PacketState;
  readonly context: MatchContext;
}

export interface Trace {
  readonly verdicts: readonly Verdict[];
  /** The evaluated rules, each once, in the order in which the packet reached them. */
  readonly evaluations: readonly Evaluation[];
}
