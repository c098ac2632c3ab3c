// Invokes a bundled handler once, as Lambda does: `node lambda.mjs BUNDLE TIMEOUT_MS ARN`, the event on
// stdin, its answer as JSON on file descriptor 3, its log on stdout. A handler that throws ends it with 1.
import { createRequire } from 'node:module';
import { writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { json } from 'node:stream/consumers';

const [bundle, timeoutMs, invokedFunctionArn] = process.argv.slice(2);
const endsAt = Date.now() + Number(timeoutMs);
const { handler } = createRequire(import.meta.url)(resolve(bundle));
const answer = await handler(await json(process.stdin), {
  invokedFunctionArn,
  getRemainingTimeInMillis: () => endsAt - Date.now(),
});
writeFileSync(3, JSON.stringify(answer ?? null));
// Lambda freezes the process here; open sockets would keep it.
process.exit(0);
