import { SingleBar } from 'cli-progress';

/** None without a terminal: in the log of a pipeline a bar is noise. */
const createBar = (format: string): SingleBar | undefined =>
  process.stderr.isTTY
    ? new SingleBar({ format, stream: process.stderr, clearOnComplete: true, hideCursor: null, fps: 4 })
    : undefined;

/** Shows how many nodes of a rollout are proven. */
export function progressBar(total: number): SingleBar | undefined {
  const bar =
    total === 0 ? undefined : createBar('{label} {bar} {value}/{total} proven, {duration_formatted}');
  bar?.start(total, 0, { label: '' });
  return bar;
}

/** Shows what is in progress, and for how long. */
export async function withProgress<T>(label: string, work: Promise<T>): Promise<T> {
  const bar = createBar('{label}… {duration_formatted}');
  bar?.start(1, 0, { label });
  const refresh = setInterval(() => bar?.update({}), 1_000);
  try {
    return await work;
  } finally {
    clearInterval(refresh);
    bar?.stop();
  }
}
