import { SingleBar } from 'cli-progress';

/** Bars are for people: the log of a pipeline gets none. */
const createBar = (format: string): SingleBar | undefined =>
  process.stderr.isTTY
    ? new SingleBar({ format, stream: process.stderr, clearOnComplete: true, hideCursor: null, fps: 4 })
    : undefined;

/** How many nodes of a roll-out are proven, where somebody sees it. */
export function progressBar(total: number): SingleBar | undefined {
  const bar =
    total === 0 ? undefined : createBar('{label} {bar} {value}/{total} proven, {duration_formatted}');
  bar?.start(total, 0, { label: '' });
  return bar;
}

/** Says what is waited for, and for how long already. */
export async function withProgress<T>(what: string, work: Promise<T>): Promise<T> {
  const bar = createBar('{what}… {duration_formatted}');
  bar?.start(1, 0, { what });
  const second = setInterval(() => bar?.update({}), 1_000);
  try {
    return await work;
  } finally {
    clearInterval(second);
    bar?.stop();
  }
}
