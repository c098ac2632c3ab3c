import { parseArgs } from 'node:util';
import { CommanderError } from 'commander';
import { PermanentError } from '../../shared/core/model/errors';
import { errorDocument, exitCodes, reportError } from './errors';
import { print } from './output';
import { makeProgram } from './program';

const program = makeProgram();

/** What whoever reads stdout expects there, also where the command line itself is at fault. */
function format(): 'json' | 'yaml' | undefined {
  const options = { output: { type: 'string', short: 'o' } } as const;
  const { output } = parseArgs({ options, strict: false }).values;
  return output === 'json' || output === 'yaml' ? output : undefined;
}

function fail(error: unknown): void {
  // Of what it refuses commander has told already; --help and --version are no faults.
  const isAlreadyPrinted = error instanceof CommanderError;
  if (isAlreadyPrinted && error.exitCode === 0) return;
  const requestedFormat = format();
  if (requestedFormat) print({ document: errorDocument(error), text: '' }, requestedFormat);
  if (!isAlreadyPrinted) reportError(error, program.opts<{ debug?: boolean }>().debug === true);
  process.exitCode = exitCodes.error;
}

const writeFailed = (cause: NodeJS.ErrnoException) =>
  new PermanentError(
    'write-failed',
    `The answer could not be written: ${cause.message}`,
    'What was written is not whole: make room, and run the command again.',
    cause,
  );

// A reader that has enough, such as head, is no fault; a disk that is full is one.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') {
    reportError(writeFailed(error), false);
    process.exitCode = exitCodes.error;
  }
  process.exit();
});

void program
  .parseAsync()
  .catch(fail)
  // The clients keep connections open for a next call. What could not be written ends the process above.
  .finally(() =>
    process.stdout.write('', (error) => {
      if (!error) process.exit();
    }),
  );
