import type { Report } from '../../../shared/core/model/report';
import type { CliResult } from '../cli-home';
import type { Networks } from '../networks';
import type { Topology } from '../topologies';

/** The times of the race, in milliseconds since the first audit log entry of the insert. */
export interface Race {
  readonly metadataSetMs: number;
  readonly scriptRanMs: number;
}

/** What happened on the node from the event to the proof. */
export interface NodeResult {
  readonly eventToProvenMs: number;
  /** The ID of the rule set. */
  readonly ruleset: string;
  /** The rules in force on the node. */
  readonly rules: readonly string[];
  readonly discovery: readonly string[];
  /** The node's report. Absent if the node did not need to report again. */
  readonly proof?: Report;
  /** The race between the function and the node's boot, in scenarios that have one. */
  readonly race?: Race;
}

export type Print = (label: string, text: string) => void;

export interface Scenario {
  readonly name: string;
  readonly cloud: 'gcp' | 'aws';
  readonly title: string;
  readonly story: string;
  readonly topology: Topology;
  /** Opens the local cloud for the networks, with the node in its state before the event. */
  readonly open: (networks: Networks) => Promise<DemoCloud>;
}

export interface DemoCloud {
  /**
   * Sends the event after the node booted. Present only in the scenario with a lost race.
   * @returns what the function reported about the node
   */
  readonly sendLateEvent?: (print: Print) => Promise<string>;
  /** Whether the node existed before peermasq was deployed. If so, `doctor` and `plan` run before the fix. */
  readonly isExistingNode?: boolean;
  /** The name of the node. */
  readonly node: string;
  /** Runs the command line with this scenario's credentials and config. */
  readonly peermasq: (args: readonly string[]) => Promise<CliResult>;
  /**
   * Sends the event that triggers the fix, and waits until the node has proven its rules. Each scenario calls this
   * twice.
   */
  readonly sendEvent: (print: Print) => Promise<NodeResult>;
  readonly close: () => Promise<void>;
}
