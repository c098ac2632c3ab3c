import { exitCodes } from '../errors';
import { printErr } from '../output';
import type { Journal } from './journal';

/**
 * The first Ctrl-C lets the wave that is under way end, and begins no other; the second leaves at once, and says
 * which nodes were touched. A node applies a rule set wholly or not at all, so each is in a known state either way.
 */
export function onInterrupt(journal: Journal): { isStopped: () => boolean; end: () => void } {
  let times = 0;
  const interrupted = () => {
    times += 1;
    if (times === 1) {
      printErr(
        '\nInterrupted: the wave under way is seen to its end, and no other begins. Ctrl-C again leaves at once.',
      );
      return;
    }
    printErr(`\n${interruptReport(journal)}`);
    process.exit(exitCodes.interrupted);
  };
  process.on('SIGINT', interrupted);
  process.on('SIGTERM', interrupted);
  return {
    isStopped: () => times > 0,
    end: () => {
      process.off('SIGINT', interrupted);
      process.off('SIGTERM', interrupted);
    },
  };
}

function interruptReport({ entries, file }: Journal): string {
  const names = (state: string) =>
    [...entries.values()].filter((entry) => entry.state === state).map(({ name }) => name);
  const line = (label: string, some: readonly string[]) =>
    some.length === 0 ? [] : [`${label}: ${some.join(', ')}.`];
  return [
    ...line(
      'Pushed to, and not heard of yet (each has either what it had before or what it was to have)',
      names('pushing'),
    ),
    ...line('Proven', names('proven')),
    ...line('Failed', names('failed')),
    ...line('Untouched', names('untouched')),
    `What nodes had before is in ${file}; \`npx peermasq status\` tells what they have now.`,
  ].join('\n');
}
