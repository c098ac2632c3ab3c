import { errorDocument, exitCodes, printFault } from './faults';
import { print, type Format } from './output';
import { makeProgram } from './program';

const program = makeProgram();

/** What whoever reads stdout expects there; known when a command begins. */
let format: Format | undefined;
program.hook('preAction', (_, command) => {
  format = command.opts<{ output?: Format }>().output;
});

function fail(error: unknown): void {
  if (format !== undefined && format !== 'table') print({ document: errorDocument(error), text: '' }, format);
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
