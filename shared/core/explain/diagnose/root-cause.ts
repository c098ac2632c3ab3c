import type { Cause } from '../explanation';
import type { Packet } from '../simulate/packet';
import type { Evaluation, Trace } from '../simulate/trace';
import type { Snapshot } from '../snapshot';

/** Why the packet leaves with the source address that it has, or does not leave. */
export interface RootCause {
  readonly cause: Cause;
  readonly reason: string;
  /** The rules that the reason names, starting with the one that decides. */
  readonly rules: readonly Evaluation[];
}

export interface TracedPacket {
  readonly snapshot: Snapshot;
  readonly packet: Packet;
  readonly trace: Trace;
}
