import type { Dependencies } from '../../shared/core/reconcile/reconcile';
import { log } from './log';
import { loadConfig } from './settings';

const clock = { now: () => Date.now() };

/** What every handler works with beside its cloud. @throws ConfigError with every fault. */
export function commonDependencies(): Omit<Dependencies, 'cloud'> {
  return { config: loadConfig(), clock, log };
}
