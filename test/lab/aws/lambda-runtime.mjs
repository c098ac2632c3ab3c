// Runs a bundled handler as Lambda does. Usage: `node lambda-runtime.mjs BUNDLE`. Reads one invocation per line from
// stdin. Writes the log to stdout, followed by a line with the handler's return value or error. The process exits if
// the bundle cannot be loaded.
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { inspect } from 'node:util';

const { handler } = createRequire(import.meta.url)(resolve(process.argv[2]));

async function invoke({ event, invokedFunctionArn, timeoutMs }) {
  const endsAt = Date.now() + timeoutMs;
  const getRemainingTimeInMillis = () => endsAt - Date.now();
  try {
    return { response: (await handler(event, { invokedFunctionArn, getRemainingTimeInMillis })) ?? null };
  } catch (error) {
    return { error: inspect(error) };
  }
}

const lines = createInterface({ input: process.stdin });
lines.on('line', async (line) => {
  const done = await invoke(JSON.parse(line));
  // Nothing that the handler logged follows this line, because Node.js writes to pipes synchronously.
  process.stdout.write(`${JSON.stringify({ type: 'platform.runtimeDone', ...done })}\n`);
});
await once(lines, 'close');
// Lambda may end the process at any time. Here it must exit, because open sockets would keep it running.
process.exit(0);
