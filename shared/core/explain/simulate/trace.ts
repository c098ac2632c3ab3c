import type { BaseChain, Chain, Rule, Ternary } from '../model';
import type { MatchContext, PacketState, Translation } from './packet-state';

/** One of the ways in which the packet's path through the node may end. */
export type Verdict =
  | {
      readonly kind: 'egress';
      readonly translation: Translation | undefined;
      /** Whether conntrack tracks the packet. Other packets never reach chains of type nat. */
      readonly isTracked: boolean;
      readonly out: string | undefined;
      /** The destination after translation. `undefined` means unknown. */
      readonly destination: bigint | undefined;
      readonly destinationPort: number | undefined;
    }
  | { readonly kind: 'local' }
  | {
      readonly kind: 'dropped';
      readonly by: string;
      /** Undefined if a route drops the packet. */
      readonly at: DropPoint | undefined;
    };

/** The rule or the chain policy that drops a packet. */
export interface DropPoint {
  readonly baseChain: BaseChain;
  readonly chain: Chain;
  /** Undefined for the policy of the base chain. */
  readonly rule: Rule | undefined;
  /** The packet as it is when it is dropped. */
  readonly state: PacketState;
}

export type EgressVerdict = Extract<Verdict, { kind: 'egress' }>;
export type DroppedVerdict = Extract<Verdict, { kind: 'dropped' }>;

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
