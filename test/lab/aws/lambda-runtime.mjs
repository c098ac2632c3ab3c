// Runs a bundled handler as Lambda does: `node lambda-runtime.mjs BUNDLE`, one process for one invocation after another.
// Each line on stdin is an invocation; its log goes to stdout, and after it a line with what the handler
// returned or threw. A bundle that cannot be loaded ends the process.
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
  // Behind the log: Node writes to a pipe before it goes on.
  process.stdout.write(`${JSON.stringify({ type: 'platform.runtimeDone', ...done })}\n`);
});
await once(lines, 'close');
// Lambda ends it when it likes; open sockets would keep it.
process.exit(0);
