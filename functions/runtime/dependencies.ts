import pino from 'pino';
import type { Log } from '../../shared/core/log';
import type { Dependencies } from '../../shared/core/reconcile/reconcile';
import { loadConfig } from './settings';

/** Maps log levels to the severity names of Cloud Logging; CloudWatch accepts any name. */
const severities: Record<string, string> = { info: 'INFO', warn: 'WARNING', error: 'ERROR' };

/** Writes each log event to stdout as a line of JSON: `{"severity","time","message":"NodeProven",…fields}`. */
const logger = pino(
  {
    messageKey: 'message',
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ severity: severities[label] ?? 'DEFAULT' }) },
  },
  // Log entries are written synchronously, because Lambda freezes the process as soon as the handler returns.
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

/**
 * Returns the dependencies that are common to all handlers: everything except the cloud.
 * @throws ConfigError if the config is invalid
 */
export function commonDependencies(): Omit<Dependencies, 'cloud'> {
  return { config: loadConfig(), clock, log };
}
