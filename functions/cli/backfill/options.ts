import type { DryRunCommandOptions } from '../dry-run';
import type { Format } from '../output';
import type { WaveOptions } from './waves';

export interface BackfillOptions extends DryRunCommandOptions, WaveOptions {
  readonly force?: boolean;
  readonly yes?: boolean;
  /** The path of the journal to roll back, or true for the journal of the last backfill. */
  readonly rollback?: string | true;
  /** The time limit of a wave, in seconds. */
  readonly waveTimeout: number;
  readonly output: Format;
}
