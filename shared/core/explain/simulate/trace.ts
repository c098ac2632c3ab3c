import type { BaseChain, Chain, Rule, Ternary } from '../model';
import type { MatchContext, PacketState, Translation } from './packet-state';

/** One of the ways in which the packet may end. */
export type Verdict =
  | {
      readonly kind: 'egress';
      readonly translation: Translation | undefined;
      readonly out: string | undefined;
      /** After translation. `undefined`: unknown. */
      readonly destination: bigint | undefined;
      readonly destinationPort: number | undefined;
    }
  | { readonly kind: 'local' }
  | { readonly kind: 'dropped'; readonly by: string };

export type EgressVerdict = Extract<Verdict, { kind: 'egress' }>;

/** A rule that the packet reached. */
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
  /** In the order in which the packet reached the rules; each rule once. */
  readonly evaluations: readonly Evaluation[];
}
