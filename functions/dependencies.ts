import type { Cloud } from '../shared/core/ports';
import type { Dependencies } from '../shared/core/reconcile';
import { log } from './log';
import { loadConfig } from './settings';

const clock = { now: () => Date.now() };

/** What every handler works with; made once for each process. @throws ConfigError with every fault. */
export function dependenciesFor(cloud: Cloud): Dependencies {
  return { cloud, config: loadConfig(), clock, log };
}
