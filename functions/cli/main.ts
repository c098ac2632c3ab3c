import { printFault, exitCodes } from './faults';
import { makeProgram } from './program';

const program = makeProgram();

function fail(error: unknown): void {
  printFault(error, program.opts<{ debug?: boolean }>().debug === true);
  process.exitCode = exitCodes.fault;
}

// A reader that has enough, such as head, is no fault.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') fail(error);
  process.exit();
});

void program
  .parseAsync()
  .catch(fail)
  // The clients keep connections open for a next call.
  .finally(() => process.stdout.write('', () => process.exit()));
