import type { Report } from '../../../shared/core/model/report';
import type { CliResult } from '../cli-home';
import type { Networks } from '../networks';
import type { Topology } from '../topologies';

/** Milliseconds after the first audit log entry of the insert. */
export interface Race {
  readonly metadataSetMs: number;
  readonly scriptRanMs: number;
}

/** What one pass from event to proof did. */
export interface NodeResult {
  readonly eventToProvenMs: number;
  /** The id of the rule set. */
  readonly ruleset: string;
  /** As they are in force on the node. */
  readonly rules: readonly string[];
  readonly discovery: readonly string[];
  /** The node's own report; absent where the cloud's record told that nothing was to be done. */
  readonly proof?: Report;
  /** Between the function and the node's boot, where there is one. */
  readonly race?: Race;
}

export type Print = (label: string, text: string) => void;

export interface Scenario {
  readonly name: string;
  readonly cloud: 'gcp' | 'aws';
  readonly title: string;
  readonly story: string;
  readonly topology: Topology;
  /** Starts the cloud around the networks: its APIs, and what the node had before the event. */
  readonly open: (networks: Networks) => Promise<DemoCloud>;
}

export interface DemoCloud {
  /**
   * Where the race against the boot is to be lost first: sends the event too late.
   * @returns what the function said of the node
   */
  readonly sendLateEvent?: (print: Print) => Promise<string>;
  /** The node was there before peermasq: people ask `doctor` and `plan` before anything is done. */
  readonly isExistingNode?: boolean;
  /** The node's name. */
  readonly node: string;
  /** The command line, with the credentials and the config that belong here. */
  readonly peermasq: (args: readonly string[]) => Promise<CliResult>;
  /** Sends what cures the node, and returns when it has proven its rules. It is called twice. */
  readonly sendEvent: (print: Print) => Promise<NodeResult>;
  readonly close: () => Promise<void>;
}
