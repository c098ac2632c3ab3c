import type { DryRunCommandOptions } from '../dry-run';
import type { Format } from '../output';
import type { WaveOptions } from './waves';

export interface BackfillOptions extends DryRunCommandOptions, WaveOptions {
  readonly force?: boolean;
  readonly yes?: boolean;
  /** The journal of the backfill; true for the last one. */
  readonly rollback?: string | true;
  /** Seconds. */
  readonly waveTimeout: number;
  readonly output: Format;
}
