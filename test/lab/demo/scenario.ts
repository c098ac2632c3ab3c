import type { Report } from '../../../shared/core/model/report';
import type { CliResult } from '../cli-home';
import type { Networks } from '../networks';
import type { Topology } from '../topologies';

/** Milliseconds after the first audit log entry of the insert. */
export interface Race {
  readonly metadataSetMs: number;
  readonly scriptRanMs: number;
}

/** One run from event to proof. */
export interface NodeResult {
  readonly eventToProvenMs: number;
  /** The rule set's ID. */
  readonly ruleset: string;
  /** The rules in force on the node. */
  readonly rules: readonly string[];
  readonly discovery: readonly string[];
  /** The node's report; absent if the cloud's record was already up to date. */
  readonly proof?: Report;
  /** Between the function and the node's boot, if there is one. */
  readonly race?: Race;
}

export type Print = (label: string, text: string) => void;

export interface Scenario {
  readonly name: string;
  readonly cloud: 'gcp' | 'aws';
  readonly title: string;
  readonly story: string;
  readonly topology: Topology;
  /** Starts the cloud for the networks: its APIs, and the node's state before the event. */
  readonly open: (networks: Networks) => Promise<DemoCloud>;
}

export interface DemoCloud {
  /**
   * In the lost-race scenario: sends the event too late.
   * @returns what the function reported about the node
   */
  readonly sendLateEvent?: (print: Print) => Promise<string>;
  /** The node existed before peermasq: `doctor` and `plan` run before the fix. */
  readonly isExistingNode?: boolean;
  /** The node's name. */
  readonly node: string;
  /** The command line, with this scenario's credentials and config. */
  readonly peermasq: (args: readonly string[]) => Promise<CliResult>;
  /** Triggers the fix and returns when the node has proven its rules. Called twice. */
  readonly sendEvent: (print: Print) => Promise<NodeResult>;
  readonly close: () => Promise<void>;
}
