import pino from 'pino';
import type { Log } from '../../shared/core/cloud';

/** Cloud Logging reads `severity`; CloudWatch is content with it. */
const severities: Record<string, string> = { info: 'INFO', warn: 'WARNING', error: 'ERROR' };

/** One line of JSON on stdout for each event: `{"severity","time","message":"NodeProven",…fields}`. */
const logger = pino(
  {
    messageKey: 'message',
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ severity: severities[label] ?? 'DEFAULT' }) },
  },
  // Written before the function returns: Lambda freezes it then.
  pino.destination({ dest: 1, sync: true }),
);

export const log: Log = {
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
