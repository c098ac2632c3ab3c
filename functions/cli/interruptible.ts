import { exitCodes } from './errors';
import { printErr } from './output';

/**
 * Runs what leaves something behind when it is cut off. The first Ctrl-C lets it take that back, and ends the process
 * then; the second ends it at once.
 */
export async function interruptible<T>(run: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const interrupt = new AbortController();
  const interrupted = () => {
    if (interrupt.signal.aborted) process.exit(exitCodes.interrupted);
    printErr('\nInterrupted: what was asked of the node is taken back. Ctrl-C again leaves at once.');
    interrupt.abort();
  };
  process.on('SIGINT', interrupted);
  process.on('SIGTERM', interrupted);
  try {
    return await run(interrupt.signal);
  } finally {
    process.off('SIGINT', interrupted);
    process.off('SIGTERM', interrupted);
    if (interrupt.signal.aborted) process.exit(exitCodes.interrupted);
  }
}
