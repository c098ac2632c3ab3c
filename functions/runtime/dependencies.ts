import pino from 'pino';
import type { Log } from '../../shared/core/cloud';
import type { Dependencies } from '../../shared/core/reconcile/reconcile';
import { loadConfig } from './settings';

/** For Cloud Logging, which reads `severity`. */
const severities: Record<string, string> = { info: 'INFO', warn: 'WARNING', error: 'ERROR' };

/** Writes a line of JSON per event: `{"severity","time","message":"NodeProven",…fields}`. */
const logger = pino(
  {
    messageKey: 'message',
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ severity: severities[label] ?? 'DEFAULT' }) },
  },
  // Synchronous, because Lambda freezes the process when the function returns.
  pino.destination({ dest: 1, sync: true }),
);

const log: Log = {
  info: (event, fields) => {
    logger.info(fields, event);
  },
  warn: (event, fields) => {
    logger.warn(fields, event);
  },
  error: (event, fields) => {
    logger.error(fields, event);
  },
};

const clock = { now: () => Date.now() };

/** What every handler needs besides its cloud. @throws ConfigError with all errors of the config */
export function commonDependencies(): Omit<Dependencies, 'cloud'> {
  return { config: loadConfig(), clock, log };
}
