import pino from 'pino';
import type { Log } from '../../shared/core/log';
import type { Dependencies } from '../../shared/core/reconcile/reconcile';
import { loadConfig } from './settings';

/** Severity names of Cloud Logging. CloudWatch accepts any name. */
const severities: Record<string, string> = { info: 'INFO', warn: 'WARNING', error: 'ERROR' };

/** Writes each event as a line of JSON to stdout: `{"severity","time","message":"NodeProven",…fields}`. */
const logger = pino(
  {
    messageKey: 'message',
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ severity: severities[label] ?? 'DEFAULT' }) },
  },
  // Written synchronously: Lambda freezes the process as soon as the handler returns.
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

/** What every handler needs, except its cloud. @throws ConfigError */
export function commonDependencies(): Omit<Dependencies, 'cloud'> {
  return { config: loadConfig(), clock, log };
}
