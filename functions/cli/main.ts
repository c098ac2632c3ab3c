import { parseArgs } from 'node:util';
import { CommanderError } from 'commander';
import { PermanentError } from '../../shared/core/model/errors';
import { errorDocument, exitCodes, reportError } from './exit';
import { print } from './output';
import { makeProgram } from './program';

const program = makeProgram();

/** Reads the output format from the command line without commander, which may have rejected the command line. */
function documentFormat(): 'json' | 'yaml' | undefined {
  const options = { output: { type: 'string', short: 'o' } } as const;
  const { output } = parseArgs({ options, strict: false }).values;
  return output === 'json' || output === 'yaml' ? output : undefined;
}

function fail(error: unknown): void {
  // Commander prints its own errors. It throws for --help and --version, too.
  const isAlreadyPrinted = error instanceof CommanderError;
  if (isAlreadyPrinted && error.exitCode === 0) return;
  const format = documentFormat();
  if (format) print({ document: errorDocument(error), text: '' }, format);
  if (!isAlreadyPrinted) reportError(error, program.opts<{ debug?: boolean }>());
  process.exitCode = exitCodes.error;
}

const writeFailed = (cause: NodeJS.ErrnoException) =>
  new PermanentError('write-failed', `Cannot write the output: ${cause.message}`, {
    advice: 'The output is incomplete. Free some disk space and run the command again.',
    cause,
  });

// EPIPE is not an error: a reader such as head closes the pipe when it has read enough.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') {
    reportError(writeFailed(error));
    process.exitCode = exitCodes.error;
  }
  process.exit();
});

void program
  .parseAsync()
  .catch(fail)
  // Exits even though the cloud clients keep connections open, but only after stdout has been flushed.
  .finally(() =>
    process.stdout.write('', (error) => {
      if (!error) process.exit();
    }),
  );
